"""Keys of the MobileNetV1 family, below MODEL. DROPPATH has nothing to act on: the network has no residual branch."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0, MULTIPLIER  # multiplier of all channels, rounded to multiples of 8
