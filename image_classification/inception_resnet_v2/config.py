"""Keys of the Inception-ResNet-v2 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import Each, within

DEFAULTS = CN()
DEFAULTS.DEPTHS = [10, 20, 9], Each(within(0, 1000))       # residual blocks at strides 8, 16 and 32, where one more follows
DEFAULTS.SCALES = [0.17, 0.1, 0.2], Each(within(0, 1000))  # factors of their residual branches; 1 in the one that follows
