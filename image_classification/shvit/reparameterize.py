"""Faster equivalents of SHViT's layers for inference engines, see `image_classification/fuse.py`."""
from paddle import nn

from image_classification.layers import set_parameter
from image_classification.layers.conv_norm import ConvNorm, Residual
from image_classification.layers.group_norm import by_means


class Merged(Residual):
    """A depthwise convolution that includes its batch norm and its shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, x):
        return self.m(x)


def merge(residual):
    """Merge a depthwise convolution with its batch norm and shortcut, which adds 1 to the middle weights, as the authors do."""
    if not isinstance(residual.m, ConvNorm):
        return
    conv, norm = residual.m
    factor = norm.weight * (norm._variance + norm._epsilon).rsqrt()
    weight = conv.weight * factor.reshape([-1, 1, 1, 1])           # (C, 1, k, k)
    middle = weight.shape[2] // 2
    weight[:, :, middle, middle] += 1.0
    conv.weight.set_value(weight)
    set_parameter(conv, 'bias', norm.bias - norm._mean * factor)
    residual.m, residual.__class__ = conv, Merged


FORMS = {Residual: merge}
ONNX = PHONE = {nn.GroupNorm: by_means}
