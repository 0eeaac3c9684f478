"""Keys of the MobileNetV3 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, one_of

DEFAULTS = CN()
DEFAULTS.ARCH = 'large', one_of('large', 'small')           # table 1 or table 2 of the paper
DEFAULTS.WIDTH = 1.0, MULTIPLIER                            # multiplier of all channels, rounded to multiples of 8
DEFAULTS.WIDTH_RULE = 'paper', one_of('paper', 'torchvision')  # how WIDTH scales hidden layers and the head
DEFAULTS.DESIGN = 'paper', one_of('paper', 'paddleclas')    # paddleclas: see `model.py`
