"""Keys of the Inception v3 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import above

DEFAULTS = CN()
DEFAULTS.AUX_LOGITS = True                # an auxiliary head behind Mixed_6e, which gives its own logits in training
DEFAULTS.EPSILON = 1e-3, above(0, most=1)  # of the batch norms; weights of PaddleClas and paddle.vision set 1e-5
