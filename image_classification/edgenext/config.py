"""Keys of the EdgeNeXt family, below MODEL. The defaults are those of EdgeNeXt-XX-Small. Lists have one entry per stage."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, KERNEL, Each, within

DEFAULTS = CN()
DEFAULTS.EDGENEXT = CN()
DEFAULTS.EDGENEXT.DIMS = [24, 48, 88, 168], Each(CHANNELS)  # channels
DEFAULTS.EDGENEXT.DEPTHS = [2, 2, 6, 2], Each(BLOCKS)       # encoders of both kinds
DEFAULTS.EDGENEXT.KERNEL_SIZES = [3, 5, 7, 9], Each(KERNEL)  # of the convolution encoders
DEFAULTS.EDGENEXT.EXPANSION = 4, within(1, 64)              # hidden channels / channels of every encoder
DEFAULTS.EDGENEXT.BN_HS = False                             # batch norm and hard-swish instead of layer norm and GELU
DEFAULTS.EDGENEXT.LAYER_SCALE_INIT = 1e-6, within(0, 1000)  # initial factor of each residual branch; 0: no layer scale
DEFAULTS.EDGENEXT.HEAD_INIT_SCALE = 1.0, within(0, 1000)    # factor of the classifier's initial weights
DEFAULTS.EDGENEXT.POSITION = False                          # Fourier position encoding also behind the first stage
DEFAULTS.EDGENEXT.SDTA = CN()
DEFAULTS.EDGENEXT.SDTA.BLOCKS = [0, 1, 1, 1], Each(within(0, 1000))  # how many of a stage's encoders, the last ones, are SDTA
DEFAULTS.EDGENEXT.SDTA.SCALES = [2, 2, 3, 4], Each(BLOCKS)  # pieces that the channels are split into
DEFAULTS.EDGENEXT.SDTA.HEADS = [4, 4, 4, 4], Each(CHANNELS)  # attention heads
DEFAULTS.EDGENEXT.SDTA.POSITION = [False, True, False, False]  # Fourier position encoding in the SDTA encoders
