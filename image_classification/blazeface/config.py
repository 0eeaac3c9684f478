"""Keys of the BlazeFace family, below MODEL."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.BLAZEFACE = CN()
DEFAULTS.BLAZEFACE.NETWORK = 'paper'      # paper: the article's extractor; front, back: MediaPipe's, with a detector's heads
