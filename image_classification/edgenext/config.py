"""Keys of the EdgeNeXt family, below MODEL. The defaults are those of EdgeNeXt-XX-Small. Lists have one entry per stage."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.EDGENEXT = CN()
DEFAULTS.EDGENEXT.DIMS = [24, 48, 88, 168]          # channels
DEFAULTS.EDGENEXT.DEPTHS = [2, 2, 6, 2]             # encoders, of both kinds together
DEFAULTS.EDGENEXT.KERNEL_SIZES = [3, 5, 7, 9]       # of the convolution encoders
DEFAULTS.EDGENEXT.EXPANSION = 4                     # hidden channels / channels in every encoder
DEFAULTS.EDGENEXT.BN_HS = False                     # batch norm and hard-swish in place of layer norm and GELU
DEFAULTS.EDGENEXT.LAYER_SCALE_INIT = 1e-6           # initial factor of each residual branch; 0: no layer scale
DEFAULTS.EDGENEXT.HEAD_INIT_SCALE = 1.0             # factor of the classifier's initial weights
DEFAULTS.EDGENEXT.POSITION = False                  # Fourier position encoding also behind the first stage
DEFAULTS.EDGENEXT.SDTA = CN()
DEFAULTS.EDGENEXT.SDTA.BLOCKS = [0, 1, 1, 1]        # how many of a stage's encoders, its last ones, are SDTA encoders
DEFAULTS.EDGENEXT.SDTA.SCALES = [2, 2, 3, 4]        # pieces that the channels are split into
DEFAULTS.EDGENEXT.SDTA.HEADS = [4, 4, 4, 4]         # of the attention
DEFAULTS.EDGENEXT.SDTA.POSITION = [False, True, False, False]  # Fourier position encoding in the SDTA encoders
