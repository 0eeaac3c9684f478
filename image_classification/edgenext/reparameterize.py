"""What EdgeNeXt says to engines, see `image_classification/fuse.py`."""
from image_classification.edgenext.model import EdgeNeXt

ONEDNN = {EdgeNeXt: 'convolutions'}
