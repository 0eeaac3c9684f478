"""Keys of the BlazeFace family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import one_of

DEFAULTS = CN()
DEFAULTS.BLAZEFACE = CN()
DEFAULTS.BLAZEFACE.NETWORK = 'paper', one_of('paper', 'front', 'back')  # paper: the article's; others: MediaPipe's
