"""Keys of the EfficientNet-Lite family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0, MULTIPLIER  # multiplier of the stages' channels, rounded to multiples of 8
DEFAULTS.DEPTH = 1.0, MULTIPLIER  # multiplier of the stages' blocks, rounded up; the first and last stage keep one block
