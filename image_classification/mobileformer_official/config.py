"""Keys of the authors' Mobile-Former, below MODEL. The defaults are those of the 26M variant."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import CHANNELS, Each, within

DEFAULTS = CN()
DEFAULTS.STEM_CHANNELS = 8, CHANNELS
DEFAULTS.POINTWISE_GROUPS = 4, CHANNELS  # groups of every 1x1 convolution; above 1, channel shuffles mix the groups
DEFAULTS.TOKENS = [3, 128], Each(CHANNELS, count=2)         # number of tokens, width of a token
DEFAULTS.BRIDGE_HEADS = 2, CHANNELS                         # attention heads between tokens and map, in both directions
DEFAULTS.TOKEN_HEADS = 4, CHANNELS                          # attention heads among the tokens
DEFAULTS.MLP_RATIO = 2, within(1, 64)                       # hidden width of the tokens' MLP / width of a token
DEFAULTS.HYPER_REDUCTION = 4, within(1, 1000)  # width of a token / hidden width of the layers that compute a dynamic ReLU
DEFAULTS.BLOCK = CN()                                       # lists with one entry per block; the first is the lite block
DEFAULTS.BLOCK.CHANNELS = [12, 12, 24, 24, 48, 48, 64, 96, 96], Each(CHANNELS)
DEFAULTS.BLOCK.STRIDES = [2, 1, 2, 1, 2, 1, 1, 2, 1], Each(within(1, 2))
DEFAULTS.BLOCK.EXPANSIONS = [3, 3, 6, 3, 6, 4, 6, 6, 6], Each(within(1, 64))  # hidden width / width of the block's input
DEFAULTS.DOWN_EXPANSION = 4, within(1, 64)  # in blocks of stride 2, hidden width / output width of the second half
DEFAULTS.LAST_EXPANSION = 6, within(1, 64)                  # width of the pooled map / output width of the last block
DEFAULTS.HIDDEN_FEATURES = 1024, CHANNELS                   # width of the layer in front of the classifier
