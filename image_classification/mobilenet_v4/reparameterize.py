"""Layers of MobileNetV4 in an export, see `image_classification/fuse.py`: factors become part of the weights beside them."""
from paddle import nn

from image_classification.mobilenet_v4.model import MobileAttention, MultiQueryAttention, UniversalBottleneck


class ScaledQueries(MultiQueryAttention):
    """Whose queries' weights hold the factor of the scores."""

    def queries(self, x):
        return self.query(x)


def without_scale(block):
    """The layer scale is in the batch norm in front of it."""
    if isinstance(block.layer_scale, nn.Identity):
        return
    norm, gamma = block.pw_proj.bn, block.layer_scale.gamma
    norm.weight.set_value(norm.weight * gamma)
    norm.bias.set_value(norm.bias * gamma)
    block.layer_scale = nn.Identity()


def without_scales(block):
    """The same of an attention: in the convolution in front of it; and the factor of the scores in the queries' one."""
    attention, output = block.attn, block.attn.output.proj
    output.weight.set_value(output.weight * block.layer_scale.gamma.reshape([-1, 1, 1, 1]))
    attention.query.proj.weight.set_value(attention.query.proj.weight * attention.dim ** -0.5)
    attention.__class__ = ScaledQueries
    block.layer_scale = nn.Identity()


FORMS = {UniversalBottleneck: without_scale, MobileAttention: without_scales}
