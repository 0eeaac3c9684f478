"""Keys of the MobileNetV2 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, one_of

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0, MULTIPLIER  # multiplier of all channels, rounded to multiples of 8; the last layer never narrows
DEFAULTS.DESIGN = 'paper', one_of('paper', 'paddleclas')  # paddleclas: first block expands, widths are not rounded
