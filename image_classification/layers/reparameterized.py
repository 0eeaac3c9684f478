"""Convolutions that train as a sum of branches and run as one, RepVGG's idea (https://arxiv.org/abs/2101.03697).

A branch is a convolution, a batch norm, or a convolution with a batch norm behind it. In evaluation each of them is a
convolution with a bias, and their sum is one with the largest kernel. `MobileOneBlock` is the block of branches that the two
families of Apple's share. Which layers of a family merge stands in its `reparameterize.py`.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.convolution import Conv2D
from image_classification.layers.initializers import pytorch_uniform, set_parameter


def affine(norm):
    """(factor, offset) per channel of a batch norm in evaluation."""
    factor = norm.weight * (norm._variance + norm._epsilon).rsqrt()
    return factor, norm.bias - norm._mean * factor


def pytorch_conv2d(in_channels, out_channels, kernel, stride=1, groups=1, bias=False, init=None):
    """A convolution that keeps the map's size but for its stride; `kernel` may be two sides. Weights begin as PyTorch's, or by
    `init`, biases as PyTorch's."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    usual = pytorch_uniform(in_channels // groups * height * width)
    return Conv2D(in_channels, out_channels, (height, width), stride, (height // 2, width // 2), groups=groups,
                  weight_attr=init or usual, bias_attr=usual if bias else False)


def batch_norm(channels, gain=1.0):
    """A batch norm as PyTorch has it, whose weights begin at `gain`."""
    return nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-5, weight_attr=nn.initializer.Constant(gain))


class ConvAndNorm(nn.Sequential):
    """Convolution without bias, then batch norm: (B, C, H, W) -> (B, out_channels, H / stride, W / stride).

    `norm` is what the published checkpoints call the latter.
    """

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1, norm='bn', init=None):
        super().__init__(('conv', pytorch_conv2d(in_channels, out_channels, kernel, stride, groups, init=init)),
                         (norm, batch_norm(out_channels)))


def summed(x, branches):
    """The sum of what the branches make of a map; None is no branch."""
    first, *others = [branch for branch in branches if branch is not None]
    total = first(x)
    for branch in others:
        total = total + branch(x)
    return total


class MobileOneBlock(nn.Layer):
    """Convolutions side by side, https://arxiv.org/abs/2206.04040, bearing timm's names: (B, C, H, W) -> (B, out_channels,
    H / stride, W / stride).

    `branches` of the kernel, one of 1x1 where `scale` wants it and the kernel is larger, and the map itself where its shape
    stays; each has its batch norm. A family's class adds what follows the sum, which `mixed` gives.
    """

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1, branches=1, scale=True):
        super().__init__()
        self.identity = batch_norm(in_channels) if in_channels == out_channels and stride == 1 else None
        self.conv_kxk = nn.LayerList([ConvAndNorm(in_channels, out_channels, kernel, stride, groups) for _ in range(branches)])
        self.conv_scale = ConvAndNorm(in_channels, out_channels, 1, stride, groups) if scale and kernel > 1 else None
        self.form = in_channels, out_channels, kernel, stride, groups

    def mixed(self, x):
        return summed(x, [self.identity, self.conv_scale, *self.conv_kxk])

    def merge(self):
        """In place, for evaluation alone: one convolution is the only branch."""
        conv = merged([self.identity, self.conv_scale, *self.conv_kxk], *self.form)
        self.identity = self.conv_scale = None
        self.conv_kxk = nn.LayerList([conv])


@paddle.no_grad()
def fold_in_front(norm, linear):
    """In place, for evaluation alone: a linear layer takes over the batch norm in front of it, which is to go."""
    factor, offset = affine(norm)
    bias = offset @ linear.weight
    if linear.bias is not None:
        bias = bias + linear.bias
    linear.weight.set_value(linear.weight * factor.unsqueeze(1))   # (C, C')
    set_parameter(linear, 'bias', bias)


# From branches to one convolution.

def identity_kernel(channels, side, groups):
    """Weights (channels, channels / groups, side, side) with which a convolution gives its input."""
    depth = channels // groups
    taps = paddle.eye(depth).tile([groups, 1])                     # (channels, depth)
    return centred(taps.reshape([channels, depth, 1, 1]), side)


def centred(weight, side):
    """The kernel in the middle of one with `side` pixels on a side, zeros around."""
    rim = (side - weight.shape[-1]) // 2
    return F.pad(weight, [rim] * 4) if rim else weight


def kernel_and_bias(branch, channels, side, groups):
    """What a branch is as a convolution of a map of so many channels: weights of that side, and a bias per channel."""
    if isinstance(branch, nn.Sequential):
        conv, norm = branch
        weight, bias = kernel_and_bias(conv, channels, side, groups)
        factor, offset = affine(norm)
        return weight * factor.reshape([-1, 1, 1, 1]), bias * factor + offset
    if isinstance(branch, nn.BatchNorm2D):
        factor, offset = affine(branch)
        identity = identity_kernel(channels, side, groups).astype(factor.dtype)
        return identity * factor.reshape([-1, 1, 1, 1]), offset
    bias = branch.bias if branch.bias is not None else paddle.zeros(branch.weight.shape[:1], branch.weight.dtype)
    return centred(branch.weight, side), bias


def convolution_of(weight, bias, stride, groups):
    """A convolution with these weights (C', C / groups, side, side) and biases (C',), in evaluation."""
    out_channels, depth, side, _ = weight.shape
    conv = pytorch_conv2d(depth * groups, out_channels, side, stride, groups, bias=True)
    set_parameter(conv, 'weight', weight)
    set_parameter(conv, 'bias', bias)
    conv.eval()
    return conv


@paddle.no_grad()
def merged(branches, in_channels, out_channels, side, stride=1, groups=1):
    """The convolution that computes what the branches sum up to in evaluation; None is no branch."""
    parts = [kernel_and_bias(branch, in_channels, side, groups) for branch in branches if branch is not None]
    weight, bias = (sum(each[1:], each[0]) for each in zip(*parts))
    return convolution_of(weight, bias, stride, groups)
