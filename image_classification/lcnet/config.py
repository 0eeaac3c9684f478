"""Keys of the PP-LCNet family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, one_of

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0, MULTIPLIER                            # multiplier of all channels, rounded to multiples of 8
DEFAULTS.DESIGN = 'timm', one_of('timm', 'paddleclas')      # paddleclas: the hidden layer of the head has no bias
