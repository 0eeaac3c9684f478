"""Keys of the GhostNet family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, one_of

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0, MULTIPLIER                   # multiplier of the channels, rounded to multiples of 4
DEFAULTS.VERSION = 'v1', one_of('v1', 'v2', 'v3')  # v2 adds attention to v1, v3 adds training branches to v2
DEFAULTS.DESIGN = 'paper', one_of('paper', 'paddleclas')  # paddleclas: other gates and last layer, for v1 only
