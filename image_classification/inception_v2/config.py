"""Keys of the Inception-v2 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import Each, within

DEFAULTS = CN()
DEFAULTS.DEPTHS = [3, 5, 2], Each(within(0, 1000))  # number of blocks at 35 x 35, 17 x 17 and 8 x 8, without reductions
