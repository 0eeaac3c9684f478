"""Squeeze-and-excitation, https://arxiv.org/abs/1709.01507, with sigmoid or hard gates (https://arxiv.org/abs/1905.02244)."""
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers.reparameterized import pytorch_conv2d


class ChannelGates(nn.Layer):
    """Multiplies each channel by a gate in 0..1 computed from the means of all channels: (B, C, H, W) -> (B, C, H, W).

    `squeezed`: channels of the hidden layer. Sub-layers bear timm's names.
    """

    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1 = pytorch_conv2d(channels, squeezed, 1, bias=True)
        self.fc2 = pytorch_conv2d(squeezed, channels, 1, bias=True)

    def forward(self, x):
        return x * F.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


def hard_gate(x, squeeze, excite, one_operator=False):
    """Multiplies each channel by a hard gate in 0..1, computed by two layers from all channels' means: (B, C, H, W) -> same.

    `one_operator` uses a single hard-sigmoid operator, which ONNX Runtime fuses with the convolution in front of it. It is not
    the default because Paddle stores its slope of 1/6 in float32, too coarse for float64.
    """
    gate = excite(F.relu(squeeze(F.adaptive_avg_pool2d(x, 1))))    # (B, C, 1, 1)
    return x * (F.hardsigmoid(gate, slope=1 / 6, offset=0.5) if one_operator else F.relu6(gate + 3.0) / 6.0)
