"""Keys of the MobileNeXt family, below MODEL. The defaults are those of MobileNeXt 1.0."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0                      # multiplier of all channels, rounded to multiples of 8; the last block's only widen
DEFAULTS.IDENTITY_DIV = 1                 # shortcuts carry 1 / this of the channels: the paper's identity multiplier
