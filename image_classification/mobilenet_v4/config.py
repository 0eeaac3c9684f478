"""Keys of the MobileNetV4 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, one_of

DEFAULTS = CN()
DEFAULTS.ARCH = 'conv_small', one_of('conv_small', 'conv_medium', 'conv_large', 'hybrid_medium', 'hybrid_large')
DEFAULTS.WIDTH = 1.0, MULTIPLIER           # multiplier of the stages' channels, rounded to multiples of 8
