"""Keys of the MobileOne family, below MODEL. The defaults are those of MobileOne-S0. Lists have one entry per stage."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, Each, within

DEFAULTS = CN()
DEFAULTS.MOBILEONE = CN()
DEFAULTS.MOBILEONE.WIDTHS = [0.75, 1.0, 1.0, 2.0], Each(MULTIPLIER, count=4)  # multipliers of 64, 128, 256 and 512 channels
DEFAULTS.MOBILEONE.BRANCHES = 4, within(1, 16)  # parallel convolutions in each layer behind the stem, in training
DEFAULTS.MOBILEONE.GATED = [0, 0, 0, 0], Each(within(0, 100), count=4)  # number of a stage's last blocks that have gates
