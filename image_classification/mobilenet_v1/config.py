"""Keys of the MobileNetV1 family, below MODEL. DROPPATH has no effect: the network has no residual branches."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import MULTIPLIER, one_of

DEFAULTS = CN()
DEFAULTS.WIDTH = 1.0, MULTIPLIER  # multiplier of all channels, rounded to multiples of 8
DEFAULTS.ACTIVATION = 'relu6', one_of('relu6', 'relu')  # relu for weights of PaddleClas and paddle.vision
