"""Keys of the MobileFormer family, below MODEL. The defaults are those of MobileFormer-26M."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import CHANNELS, KERNEL, MULTIPLIER, PART, Each, one_of, within

DEFAULTS = CN()
DEFAULTS.ATTENTION_DROPOUT = 0.0, PART                      # of the attention weights
DEFAULTS.MLP_DROPOUT = 0.0, PART                            # after each layer of the Former's MLP
DEFAULTS.MF = CN()
DEFAULTS.MF.TOKENS = [3, 128], Each(CHANNELS, count=2)      # number of tokens, width of a token
DEFAULTS.MF.NUM_HEAD = 4, CHANNELS
DEFAULTS.MF.MLP_RATIO = 2.0, MULTIPLIER
DEFAULTS.MF.ALPHA = 1.0, MULTIPLIER                         # width multiplier of the stem, lite bottleneck and blocks
DEFAULTS.MF.QKV_BIAS = True
DEFAULTS.MF.POINTWISECONV_GROUPS = 4, CHANNELS              # groups of every 1x1 convolution
DEFAULTS.MF.DYRELU = CN()
DEFAULTS.MF.DYRELU.USE_DYRELU = True                        # False: Mobile sub-blocks without activation, as in the tutorial
DEFAULTS.MF.DYRELU.REDUCE = 6.0, within(1, 1000)            # token width / hidden width of the hyper-network
DEFAULTS.MF.DYRELU.DYRELU_K = 2, within(1, 64)              # linear pieces
DEFAULTS.MF.DYRELU.COEFS = [1.0, 0.5], Each(within(-1000, 1000), count=2)  # factors of the computed slopes and offsets
DEFAULTS.MF.DYRELU.CONSTS = [1.0, 0.0], Each(within(-1000, 1000), count=2)  # initial first slope, and all other values
DEFAULTS.MF.STEM = CN()
DEFAULTS.MF.STEM.OUT_CHANNELS = 8, CHANNELS
DEFAULTS.MF.STEM.KERNELS = 3, KERNEL
DEFAULTS.MF.STEM.STRIDES = 2, within(1, 16)
DEFAULTS.MF.STEM.PADDINGS = 1, within(0, 255)
DEFAULTS.MF.LITE_BNECK = CN()
DEFAULTS.MF.LITE_BNECK.IN_CHANNEL = 8, CHANNELS
DEFAULTS.MF.LITE_BNECK.HIDDEN_CHANNEL = 24, CHANNELS
DEFAULTS.MF.LITE_BNECK.OUT_CHANNEL = 12, CHANNELS
DEFAULTS.MF.LITE_BNECK.KERNEL = 3, KERNEL
DEFAULTS.MF.LITE_BNECK.STRIDE = 2, within(1, 16)
DEFAULTS.MF.LITE_BNECK.PADDING = 1, within(0, 255)
DEFAULTS.MF.LITE_BNECK.ACT = 'none', one_of('none', 'relu', 'hardswish', 'relu6')  # none fits the tutorial's weights
DEFAULTS.MF.BLOCK = CN()
DEFAULTS.MF.BLOCK.IN_CHANNELS = [12, 12, 24, 24, 48, 48, 64, 96], Each(CHANNELS)
DEFAULTS.MF.BLOCK.HIDDEN_CHANNELS = [36, 72, 72, 144, 192, 288, 384, 576], Each(CHANNELS)
DEFAULTS.MF.BLOCK.OUT_CHANNELS = [12, 24, 24, 48, 48, 64, 96, 96], Each(CHANNELS)
DEFAULTS.MF.BLOCK.KERNELS = [3, 3, 3, 3, 3, 3, 3, 3], Each(KERNEL)
DEFAULTS.MF.BLOCK.STRIDES = [1, 2, 1, 2, 1, 1, 2, 1], Each(within(1, 16))
DEFAULTS.MF.BLOCK.PADDINGS = [1, 1, 1, 1, 1, 1, 1, 1], Each(within(0, 255))
DEFAULTS.MF.CHANNEL_CONV = CN()
DEFAULTS.MF.CHANNEL_CONV.IN_CHANNEL = 96, CHANNELS
DEFAULTS.MF.CHANNEL_CONV.OUT_CHANNEL = 576, CHANNELS
DEFAULTS.MF.HEAD = CN()
DEFAULTS.MF.HEAD.IN_CHANNEL = 576, CHANNELS
DEFAULTS.MF.HEAD.HIDDEN_FEATURE = 1024, CHANNELS
DEFAULTS.MF.INIT = 'tn', one_of('tn', 'kn', 'ku', 'xu')     # tn: truncated normal 0.02; kn, ku: Kaiming; xu: Xavier uniform
