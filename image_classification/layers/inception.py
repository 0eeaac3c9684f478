"""Blocks of the later Inception networks."""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.conv_bn import conv_bn
from image_classification.cpu.convolution import Conv2D


class BasicConv2d(nn.Layer):
    """Convolution without bias, batch norm, ReLU: (B, C, H, W) -> (B, c_out, H', W').

    Unpadded, unless `same`: then (B, c_out, H, W), by half the kernel on each side. `init` draws the weights.
    """

    def __init__(self, c_in, c_out, kernel, stride=1, same=False, init=None):
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(side // 2 for side in kernel) if same else 0
        self.conv = Conv2D(c_in, c_out, kernel, stride, padding, weight_attr=init, bias_attr=False)
        self.bn = nn.BatchNorm2D(c_out, epsilon=1e-3)

    def forward(self, x):
        return F.relu(conv_bn(x, self.conv, self.bn))


class Branches(nn.Sequential):
    """Layers side by side on the same map, in the order of their names: (B, C, H, W) -> (B, sum of their C', H', W')."""

    def __init__(self, **branches):
        super().__init__(*branches.items())

    def forward(self, x):
        return paddle.concat([branch(x) for branch in self], axis=1)
