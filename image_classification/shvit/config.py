"""Keys of the SHViT family, below MODEL. The defaults are those of SHViT-S1."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each, within

DEFAULTS = CN()
DEFAULTS.SHVIT = CN()
DEFAULTS.SHVIT.DIMS = [128, 224, 320], Each(CHANNELS, count=3)  # channels of the three stages
DEFAULTS.SHVIT.DEPTHS = [2, 4, 5], Each(BLOCKS, count=3)        # blocks per stage
DEFAULTS.SHVIT.ATTENDED = [0, 48, 68], Each(within(0, 65_536), count=3)  # channels with attention in each stage; 0: none
