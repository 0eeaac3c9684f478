"""Faster equivalents of PP-LCNet's layers for inference engines, see `image_classification/fuse.py`."""
from image_classification.layers import hard_gate
from image_classification.lcnet.model import SqueezeExcitation


class OneGate(SqueezeExcitation):
    """The hard sigmoid is one operator, which ONNX Runtime fuses with the convolution in front of it."""

    def forward(self, x):
        return hard_gate(x, self.conv_reduce, self.conv_expand, one_operator=True)


def one_gate(layer):
    layer.__class__ = OneGate


ONNX = {SqueezeExcitation: one_gate}
