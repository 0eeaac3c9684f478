"""Keys of the Xception family, below MODEL. The defaults are those of the paper."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import within

DEFAULTS = CN()
DEFAULTS.XCEPTION = CN()
DEFAULTS.XCEPTION.MIDDLE_BLOCKS = 8, within(0, 1000)  # blocks of the middle flow, at 1/16 of the input; only 8 fit weights
