"""MobileNetV4's layers for exports: scales are multiplied into neighbouring weights. See `image_classification/fuse.py`."""
from paddle import nn

from image_classification.mobilenet_v4.model import MobileAttention, MultiQueryAttention, UniversalBottleneck


class ScaledQueries(MultiQueryAttention):
    """The scale of the scores has been multiplied into the weights of the queries."""

    def queries(self, x):
        return self.query(x)


def without_scale(block):
    """Fold the layer scale into the batch norm in front of it."""
    if isinstance(block.layer_scale, nn.Identity):
        return
    norm, gamma = block.pw_proj.bn, block.layer_scale.gamma
    norm.weight.set_value(norm.weight * gamma)
    norm.bias.set_value(norm.bias * gamma)
    block.layer_scale = nn.Identity()


def without_scales(block):
    """Fold an attention's layer scale into the convolution in front of it, and the scale of the scores into the queries."""
    attention, output = block.attn, block.attn.output.proj
    output.weight.set_value(output.weight * block.layer_scale.gamma.reshape([-1, 1, 1, 1]))
    attention.query.proj.weight.set_value(attention.query.proj.weight * attention.dim ** -0.5)
    attention.__class__ = ScaledQueries
    block.layer_scale = nn.Identity()


FORMS = {UniversalBottleneck: without_scale, MobileAttention: without_scales}
