"""Keys of the EfficientViT family of MIT, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each

DEFAULTS = CN()
DEFAULTS.EFFICIENTVIT = CN()
DEFAULTS.EFFICIENTVIT.CHANNELS = [8, 16, 32, 64, 128], Each(CHANNELS, 5)   # channels of the stem and of the stages
DEFAULTS.EFFICIENTVIT.DEPTHS = [1, 2, 2, 2, 2], Each(BLOCKS, 5)    # their blocks; the last two stages have one more
DEFAULTS.EFFICIENTVIT.DIM = 16, CHANNELS                           # channels of a head
DEFAULTS.EFFICIENTVIT.HEAD = [1024, 1280], Each(CHANNELS, 2)       # units of the two hidden layers of the classifier
