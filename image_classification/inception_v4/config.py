"""Keys of the Inception-v4 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import Each, within

DEFAULTS = CN()
DEFAULTS.DEPTHS = [4, 7, 3], Each(within(0, 1000))  # number of Inception-A, -B and -C blocks
