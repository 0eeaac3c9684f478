"""Keys of the MobileViT family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import CHANNELS, MULTIPLIER, Each, one_of, within

DEFAULTS = CN()
DEFAULTS.MOBILEVIT = CN()
DEFAULTS.MOBILEVIT.VERSION = 'v1', one_of('v1', 'v2')               # v2: separable self-attention
DEFAULTS.MOBILEVIT.STEM = 16, CHANNELS                              # channels of the first convolution
DEFAULTS.MOBILEVIT.CHANNELS = [16, 24, 48, 64, 80], Each(CHANNELS, 5)  # channels of the stages
DEFAULTS.MOBILEVIT.DIMS = [64, 80, 96], Each(CHANNELS, 3)           # channels of the attention, in the last three stages
DEFAULTS.MOBILEVIT.EXPANSION = 2.0, MULTIPLIER                      # hidden channels / channels of inverted residuals
DEFAULTS.MOBILEVIT.LAST = 320, within(0, 65_536)                    # channels of the last convolution, 0 for none
