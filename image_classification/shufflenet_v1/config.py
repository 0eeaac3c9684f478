"""Keys of the ShuffleNet V1 family, below MODEL. The defaults are those of ShuffleNet V1 1x with 3 groups."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each

DEFAULTS = CN()
DEFAULTS.SHUFFLENET = CN()
DEFAULTS.SHUFFLENET.GROUPS = 3, CHANNELS                    # of all 1x1 convolutions but the first; 1: no groups, no shuffle
DEFAULTS.SHUFFLENET.STEM_CHANNELS = 24, CHANNELS            # of the first convolution and the max pool
DEFAULTS.SHUFFLENET.REPEATS = [4, 8, 4], Each(BLOCKS)       # units of stages 2, 3 and 4; the first of each halves the map
DEFAULTS.SHUFFLENET.CHANNELS = [240, 480, 960], Each(CHANNELS)  # their output channels; a quarter of them must divide by GROUPS
