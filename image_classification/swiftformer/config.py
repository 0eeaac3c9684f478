"""Keys of the SwiftFormer family, below MODEL. The defaults are those of SwiftFormer-XS."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each

DEFAULTS = CN()
DEFAULTS.SWIFTFORMER = CN()
DEFAULTS.SWIFTFORMER.DIMS = [48, 56, 112, 220], Each(CHANNELS, count=4)  # channels of the four stages
DEFAULTS.SWIFTFORMER.DEPTHS = [3, 3, 6, 4], Each(BLOCKS, count=4)        # blocks per stage, the last of which has attention
DEFAULTS.DISTILLED = True                                                # a second classifier, which learns from a teacher
