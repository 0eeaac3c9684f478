"""Keys of the MobileNetV3 family, below MODEL."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.ARCH = 'large'                   # large or small: table 1 or 2 of the paper
DEFAULTS.WIDTH = 1.0                      # multiplier of all channels, rounded to multiples of 8
DEFAULTS.WIDTH_RULE = 'paper'             # paper or torchvision: how it applies inside blocks and to the head, see model.py
