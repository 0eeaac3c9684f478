"""Keys of the GoogLeNet family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import PART

DEFAULTS = CN()
DEFAULTS.AUX_LOGITS = True        # two auxiliary heads, which give their own logits in training
DEFAULTS.DROPOUT_AUX = 0.7, PART  # in front of the auxiliary heads' last layers

REFUSED = [{'STYLES': ['paddleclas', 'paddle_vision'], 'KEY': '_ince3a._conv1._conv.weight',
            'WHY': 'the GoogLeNet of PaddleClas and of paddle.vision is another network, without batch norms'}]
