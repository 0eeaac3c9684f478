"""Faster equivalents of Mobile-Former's layers for inference engines; see `image_classification/fuse.py`."""
from paddle import nn

from image_classification.cpu.convolution import as_product, is_pointwise
from image_classification.cpu.heads import softmax_by_rows
from image_classification.mobileformer_official.model import GlobalToLocal, MobileFormerOfficial

ONEDNN = {MobileFormerOfficial: 'convolutions'}


def products(network):
    for layer in network.sublayers():
        if isinstance(layer, nn.Conv2D) and is_pointwise(layer):
            as_product(layer)
        elif isinstance(layer, GlobalToLocal):
            layer.softmax = softmax_by_rows
