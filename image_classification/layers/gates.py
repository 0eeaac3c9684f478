"""Squeeze-and-excitation, https://arxiv.org/abs/1709.01507, bearing timm's names."""
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers.reparameterized import pytorch_conv2d


class ChannelGates(nn.Layer):
    """Each channel times a gate in 0..1 that is computed from all channels' means: (B, C, H, W) -> (B, C, H, W).

    `squeezed`: channels of the hidden layer.
    """

    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1 = pytorch_conv2d(channels, squeezed, 1, bias=True)
        self.fc2 = pytorch_conv2d(squeezed, channels, 1, bias=True)

    def forward(self, x):
        return x * F.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))
