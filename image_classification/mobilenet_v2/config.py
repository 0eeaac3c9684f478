"""Keys of the MobileNetV2 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0, MULTIPLIER  # multiplier of all channels, rounded to multiples of 8; the last layer only widens
