"""Keys of the MobileNetV2 family, below MODEL."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0                      # multiplier of all channels, rounded to multiples of 8; the last layer only widens
