"""Keys of the EfficientViT family, below MODEL. The defaults are those of the classifier EfficientViT-M0."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, KERNEL, Each, within

DEFAULTS = CN()
DEFAULTS.EFFICIENTVIT = CN()
DEFAULTS.EFFICIENTVIT.DIMS = [64, 128, 192], Each(CHANNELS)  # channels of the three stages
DEFAULTS.EFFICIENTVIT.DEPTHS = [1, 2, 3], Each(BLOCKS)      # sandwich blocks per stage
DEFAULTS.EFFICIENTVIT.NUM_HEADS = [4, 4, 4], Each(CHANNELS)  # attention heads per stage
DEFAULTS.EFFICIENTVIT.KEY_DIMS = [16, 16, 16], Each(CHANNELS)  # channels of a head's query and key
DEFAULTS.EFFICIENTVIT.WINDOWS = [7, 7, 4], Each(KERNEL)     # side of the attention windows in each stage, in pixels of its map
DEFAULTS.EFFICIENTVIT.KERNELS = [5, 5, 5, 5], Each(KERNEL)  # token interaction: kernel on the query of each head
DEFAULTS.EFFICIENTVIT.STRIDE = 16, within(8, 16)            # of the first stage: 16, or 8 in the tutorial's detector backbone
DEFAULTS.EFFICIENTVIT.HEAD = True                           # False: a detector backbone that returns the three stages' maps
