"""Faster equivalents of TinyViT's layers for inference engines, and forms for phones. See `image_classification/fuse.py`."""
from image_classification.layers.position_bias import Gathered, gather
from image_classification.layers.windows import with_zeros
from image_classification.tiny_vit.model import Attention, TinyViTBlock


class GatheredAttention(Gathered, Attention):
    pass


class ConcatenatedZeros(TinyViTBlock):
    """For one image of a fixed size. The zeros beyond the border are concatenated, because Paddle-Lite lacks F.pad."""

    def padded(self, x, below, right):
        return with_zeros(x, {1: below, 2: right})


def concatenate(block):
    block.__class__ = ConcatenatedZeros


FORMS = {Attention: lambda layer: gather(layer, GatheredAttention)}
PHONE = {TinyViTBlock: concatenate}
