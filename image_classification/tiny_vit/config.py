"""Keys of the TinyViT family, below MODEL. The defaults are those of TinyViT-5M."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, KERNEL, Each

DEFAULTS = CN()
DEFAULTS.TINYVIT = CN()
DEFAULTS.TINYVIT.DIMS = [64, 128, 160, 320], Each(CHANNELS, count=4)  # channels of the four stages
DEFAULTS.TINYVIT.DEPTHS = [2, 2, 6, 2], Each(BLOCKS, count=4)         # blocks per stage
DEFAULTS.TINYVIT.NUM_HEADS = [4, 5, 10], Each(CHANNELS, count=3)      # attention heads of the stages after the first
DEFAULTS.TINYVIT.WINDOWS = [7, 14, 7], Each(KERNEL, count=3)          # side of their attention windows, in pixels of their maps
