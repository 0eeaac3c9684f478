"""Keys of the LeViT family, below MODEL. The defaults are those of LeViT-128S."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, KERNEL, Each

DEFAULTS = CN()
DEFAULTS.LEVIT = CN()
DEFAULTS.LEVIT.DIMS = [128, 256, 384], Each(CHANNELS, count=3)  # channels of the three stages
DEFAULTS.LEVIT.DEPTHS = [2, 3, 4], Each(BLOCKS, count=3)     # pairs of an attention and an MLP per stage
DEFAULTS.LEVIT.NUM_HEADS = [4, 6, 8], Each(CHANNELS, count=3)  # attention heads per stage
DEFAULTS.LEVIT.KEY_DIM = 16, CHANNELS                        # channels of a head's query and key
DEFAULTS.LEVIT.SIDE = 14, KERNEL                             # side of the first map, for the attention biases: IMAGE_SIZE / 16
DEFAULTS.DISTILLED = True                                    # a second classifier, which learns from a teacher
