"""MobileViT's layers for phone engines, see `image_classification/fuse.py`."""
from paddle import nn

from image_classification.layers.group_norm import by_means

PHONE = {nn.GroupNorm: by_means}
