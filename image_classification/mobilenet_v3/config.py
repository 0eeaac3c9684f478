"""Keys of the MobileNetV3 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, one_of

DEFAULTS = CN()
DEFAULTS.ARCH = 'large', one_of('large', 'small')           # large or small: table 1 or 2 of the paper
DEFAULTS.WIDTH = 1.0, MULTIPLIER                            # multiplier of all channels, rounded to multiples of 8
DEFAULTS.WIDTH_RULE = 'paper', one_of('paper', 'torchvision')  # how it applies inside blocks and to the head
DEFAULTS.DESIGN = 'paper', one_of('paper', 'paddleclas')    # paddleclas: an expansion in the first block, too, and more
