"""Keys of the Inception-ResNet-v2 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import Each, within

DEFAULTS = CN()
DEFAULTS.DEPTHS = [10, 20, 9], Each(within(0, 1000))       # residual blocks at strides 8, 16 and 32; at 32 one more follows
DEFAULTS.SCALES = [0.17, 0.1, 0.2], Each(within(0, 1000))  # factor of the residual branches there; that one's is 1
