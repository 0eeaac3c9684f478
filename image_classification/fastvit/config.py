"""Keys of the FastViT family, below MODEL. The defaults are those of FastViT-T8. Lists have one entry per stage."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each, within

DEFAULTS = CN()
DEFAULTS.FASTVIT = CN()
DEFAULTS.FASTVIT.DIMS = [48, 96, 192, 384], Each(CHANNELS, least=1)  # channels
DEFAULTS.FASTVIT.DEPTHS = [2, 2, 4, 2], Each(BLOCKS, least=1)        # blocks
DEFAULTS.FASTVIT.EXPANSION = 3, within(1, 64)                        # hidden channels / channels of every block
DEFAULTS.FASTVIT.ATTENTION = False                                   # self-attention in the last stage
DEFAULTS.FASTVIT.LAYER_SCALE_INIT = 1e-5, within(0, 1000)            # initial factor of each residual branch
