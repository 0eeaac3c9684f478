"""Keys of the Xception family, below MODEL. The defaults are those of the paper."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import within

DEFAULTS = CN()
DEFAULTS.XCEPTION = CN()
DEFAULTS.XCEPTION.MIDDLE_BLOCKS = 8, within(0, 1000)  # blocks of the middle flow, at stride 16; published weights need 8

REFUSED = [
    {'STYLES': ['paddleclas'], 'KEY': '_entry_flow._conv1._conv.weight',
     'WHY': 'the Xception41, 65 and 71 of PaddleClas are other networks: 1x1 before depthwise convolutions, each with a norm'},
    {'STYLES': ['paddleclas'], 'KEY': '_conv1._bn.weight',
     'WHY': 'the Xception41_deeplab and 65_deeplab of PaddleClas are other networks: a norm behind each depthwise convolution'}]
