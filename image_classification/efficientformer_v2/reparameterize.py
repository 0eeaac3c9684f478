"""Faster equivalents of EfficientFormerV2's layers for inference engines, see `image_classification/fuse.py`."""
import paddle

from image_classification.efficientformer_v2.model import (FFN, Attention4D, Attention4DDownsample, AttnFFN,
                                                           EfficientFormerV2, LGQuery)
from image_classification.layers.distilled import average_heads, fold_scale
from image_classification.layers.position_bias import Gathered, gather


class GatheredAttention(Gathered, Attention4D):
    pass


class GatheredDownsample(Gathered, Attention4DDownsample):
    pass


class MergedQuery(LGQuery):
    """The strided convolution adds every second pixel by itself: 1 is added to its middle weights."""

    def forward(self, x):
        return self.proj(self.local(x))


def merge_pixels(query):
    conv, weight = query.local[0], query.local[0].weight.clone()   # (C, 1, 3, 3)
    weight[:, :, 1, 1] += 1.0
    conv.weight.set_value(weight)
    query.__class__ = MergedQuery


def attention(form):
    """A function that changes an attention to `form` and folds its scale into the queries."""
    def change(layer):
        gather(layer, form)
        _, norm = layer.q.proj if isinstance(layer.q, LGQuery) else layer.q
        fold_scale(norm, paddle.to_tensor([layer.scale]))
        layer.scale = 1.0
    return change


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


FORMS = {Attention4D: attention(GatheredAttention), Attention4DDownsample: attention(GatheredDownsample), LGQuery: merge_pixels,
         FFN: fold_mlp, AttnFFN: fold_block, EfficientFormerV2: average_heads}
