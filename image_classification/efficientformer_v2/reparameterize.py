"""Faster equivalents of EfficientFormerV2's layers for inference engines, see `image_classification/fuse.py`."""
from image_classification.efficientformer_v2.model import (FFN, Attention4D, Attention4DDownsample, AttnFFN,
                                                           EfficientFormerV2)
from image_classification.layers.distilled import average_heads, fold_scale
from image_classification.layers.position_bias import Gathered, gather


class GatheredAttention(Gathered, Attention4D):
    pass


class GatheredDownsample(Gathered, Attention4DDownsample):
    pass


class ScaledFFN(FFN):
    """The layer scale is folded into the last batch norm of the MLP."""

    def scaled(self, y, number):
        return y


class ScaledAttnFFN(AttnFFN):
    """The layer scales are folded into the last batch norms of attention and MLP."""

    def scaled(self, y, number):
        return y


def fold_mlp(block):
    fold_scale(block.mlp.norm2, block.layer_scale_2)
    block.layer_scale_2, block.__class__ = None, ScaledFFN


def fold_block(block):
    fold_mlp(block)
    fold_scale(block.token_mixer.proj[2], block.layer_scale_1)
    block.layer_scale_1, block.__class__ = None, ScaledAttnFFN


FORMS = {Attention4D: lambda layer: gather(layer, GatheredAttention), FFN: fold_mlp, AttnFFN: fold_block,
         Attention4DDownsample: lambda layer: gather(layer, GatheredDownsample), EfficientFormerV2: average_heads}
