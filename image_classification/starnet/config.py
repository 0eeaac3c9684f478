"""Keys of the StarNet family, below MODEL. The defaults are those of StarNet-S1."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each, within

DEFAULTS = CN()
DEFAULTS.STARNET = CN()
DEFAULTS.STARNET.DIM = 24, CHANNELS                        # channels of the first stage, doubled in each further one
DEFAULTS.STARNET.DEPTHS = [2, 2, 8, 3], Each(BLOCKS, least=1)  # blocks per stage
DEFAULTS.STARNET.EXPANSION = 4, within(1, 64)              # channels of the product / channels of a block
