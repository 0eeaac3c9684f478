"""Keys of the Inception v3 family, below MODEL."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.AUX_LOGITS = True                # an auxiliary head behind Mixed_6e, which gives logits of its own in training
