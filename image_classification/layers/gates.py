"""Squeeze-and-excitation, https://arxiv.org/abs/1709.01507, with a sigmoid or, as in https://arxiv.org/abs/1905.02244, a hard one."""
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers.reparameterized import pytorch_conv2d


class ChannelGates(nn.Layer):
    """Each channel times a gate in 0..1 that is computed from all channels' means: (B, C, H, W) -> (B, C, H, W). Bears timm's names.

    `squeezed`: channels of the hidden layer.
    """

    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1 = pytorch_conv2d(channels, squeezed, 1, bias=True)
        self.fc2 = pytorch_conv2d(squeezed, channels, 1, bias=True)

    def forward(self, x):
        return x * F.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


def hard_gate(x, squeeze, excite, one_operator=False):
    """Each channel times a hard gate in 0..1 that two layers compute from all channels' means: (B, C, H, W) -> (B, C, H, W).

    As `one_operator`, ONNX Runtime makes the hard sigmoid part of the convolution in front of it; Paddle's keeps 1/6 in float32
    only, which float64 would see.
    """
    gate = excite(F.relu(squeeze(F.adaptive_avg_pool2d(x, 1))))    # (B, C, 1, 1)
    return x * (F.hardsigmoid(gate, slope=1 / 6, offset=0.5) if one_operator else F.relu6(gate + 3.0) / 6.0)
