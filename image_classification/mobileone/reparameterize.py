"""Merges the branches of each layer into one convolution for evaluation, see `image_classification/fuse.py`."""
from image_classification.mobileone.model import Layer

FORMS = {Layer: Layer.merge}
