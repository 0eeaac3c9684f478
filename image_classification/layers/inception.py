"""Blocks of the later Inception networks."""
import paddle
from paddle import nn

from image_classification.cpu.convolution import Conv2D


class BasicConv2d(nn.Sequential):
    """Convolution without bias, batch norm, ReLU: (B, C, H, W) -> (B, out_channels, H', W').

    No padding by default; `same` pads by half the kernel on each side: (B, out_channels, H, W). `init` initialises the weights.
    """

    def __init__(self, in_channels, out_channels, kernel, stride=1, same=False, init=None):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(side // 2 for side in kernel) if same else 0
        conv = Conv2D(in_channels, out_channels, kernel, stride, padding, weight_attr=init, bias_attr=False)
        super().__init__(('conv', conv), ('bn', nn.BatchNorm2D(out_channels, epsilon=1e-3)), ('relu', nn.ReLU()))


class Branches(nn.Sequential):
    """Parallel layers, concatenated in the order of the arguments: (B, C, H, W) -> (B, sum of their C', H', W')."""

    def __init__(self, **branches):
        super().__init__(*branches.items())

    def forward(self, x):
        return paddle.concat([branch(x) for branch in self], axis=1)
