"""Keys of the RepViT family, below MODEL. The defaults are those of RepViT-M0.9. Lists have one entry per stage."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each

DEFAULTS = CN()
DEFAULTS.REPVIT = CN()
DEFAULTS.REPVIT.DIMS = [48, 96, 192, 384], Each(CHANNELS, least=1)  # channels
DEFAULTS.REPVIT.DEPTHS = [2, 2, 14, 2], Each(BLOCKS, least=1)       # blocks, not counting the one in front of a downsampling
DEFAULTS.REPVIT.DISTILLATION = True  # a second classifier, which learns from a teacher; the logits are the mean of both
