"""Keys of the Inception-v4 family, below MODEL."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.DEPTHS = [4, 7, 3]               # number of Inception-A, -B and -C blocks
