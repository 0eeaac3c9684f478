"""Faster equivalents of TinyViT's layers for inference engines, see `image_classification/fuse.py`."""
from image_classification.layers.position_bias import Gathered, gather
from image_classification.tiny_vit.model import Attention


class GatheredAttention(Gathered, Attention):
    pass


FORMS = {Attention: lambda layer: gather(layer, GatheredAttention)}
