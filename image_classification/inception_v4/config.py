"""Keys of the Inception-v4 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import Each, within

DEFAULTS = CN()
DEFAULTS.DEPTHS = [4, 7, 3], Each(within(0, 1000))  # number of Inception-A, -B and -C blocks

REFUSED = [{'STYLES': ['paddleclas'], 'KEY': '_inception_stem._conv_1._conv.weight',
            'WHY': 'the InceptionV4 of PaddleClas is another network, in which most of the 1x7 and 7x1 kernels are swapped'}]
