"""Keys of the Xception family, below MODEL. The defaults are those of the paper."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.XCEPTION = CN()
DEFAULTS.XCEPTION.MIDDLE_BLOCKS = 8       # blocks of the middle flow, at 1/16 of the input; other counts than 8 fit no weights
