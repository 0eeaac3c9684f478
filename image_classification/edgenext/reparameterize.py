"""What EdgeNeXt says to engines, see `image_classification/fuse.py`."""

ONEDNN = 'convolutions'
