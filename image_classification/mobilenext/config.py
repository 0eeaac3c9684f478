"""Keys of the MobileNeXt family, below MODEL. The defaults are those of MobileNeXt 1.0."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, within

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0, MULTIPLIER            # multiplier of all channels, rounded to multiples of 8; never narrows the last
DEFAULTS.IDENTITY_DIV = 1, within(1, 1000)  # shortcuts carry 1 / this of the channels, the paper's identity multiplier
