"""Keys of the EfficientFormerV2 family, below MODEL. The defaults are those of EfficientFormerV2-S0."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, KERNEL, MULTIPLIER, Each, within

DEFAULTS = CN()
DEFAULTS.EFFICIENTFORMER = CN()
DEFAULTS.EFFICIENTFORMER.DIMS = [32, 48, 96, 176], Each(CHANNELS, count=4)  # channels of the four stages
DEFAULTS.EFFICIENTFORMER.DEPTHS = [2, 2, 6, 4], Each(BLOCKS, count=4)       # blocks per stage
DEFAULTS.EFFICIENTFORMER.ATTENTIONS = 2, within(0, 1000)    # how many last blocks of the third and fourth stage have attention
DEFAULTS.EFFICIENTFORMER.RATIOS = [4, 4, 4, 4, 4, 3, 3, 3, 4, 4, 4, 3, 3, 4], Each(MULTIPLIER)  # of the MLPs of all blocks
DEFAULTS.EFFICIENTFORMER.SIDE = 14, KERNEL                  # side of the third map, for the attention biases: IMAGE_SIZE / 16
DEFAULTS.DISTILLED = True                                   # a second classifier, which learns from a teacher
