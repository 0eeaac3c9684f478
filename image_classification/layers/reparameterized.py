"""Convolutions that train as a sum of branches and run as one, RepVGG's idea (https://arxiv.org/abs/2101.03697).

A branch is a convolution, a batch norm, or a convolution followed by a batch norm. In evaluation, each branch is equivalent to
a convolution with a bias, and their sum to one convolution with the largest kernel. `MobileOneBlock` is the block that Apple's
two families share. A family's `reparameterize.py` says which of its layers are merged.
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
    """A convolution padded by half its kernel; `kernel` may be (height, width). Weights are initialised by `init`, by default
    as in PyTorch, and biases as in PyTorch."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    usual = pytorch_uniform(in_channels // groups * height * width)
    return Conv2D(in_channels, out_channels, (height, width), stride, (height // 2, width // 2), groups=groups,
                  weight_attr=init or usual, bias_attr=usual if bias else False)


def batch_norm(channels, gain=1.0):
    """A batch norm with PyTorch's momentum and epsilon, whose weights are initialised to `gain`."""
    return nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-5, weight_attr=nn.initializer.Constant(gain))


class ConvAndNorm(nn.Sequential):
    """Convolution without bias, then batch norm: (B, C, H, W) -> (B, out_channels, H / stride, W / stride).

    `norm` is the name of the batch norm in the published checkpoints.
    """

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1, norm='bn', init=None):
        super().__init__(('conv', pytorch_conv2d(in_channels, out_channels, kernel, stride, groups, init=init)),
                         (norm, batch_norm(out_channels)))


def summed(x, branches):
    """The sum of the branches' outputs for a map. A branch may be None."""
    first, *others = [branch for branch in branches if branch is not None]
    total = first(x)
    for branch in others:
        total = total + branch(x)
    return total


class MobileOneBlock(nn.Layer):
    """Parallel convolutions, https://arxiv.org/abs/2206.04040, with timm's names: (B, C, H, W) -> (B, out_channels, H / stride,
    W / stride).

    There are `branches` convolutions with this kernel, a 1x1 convolution if `scale` is set and the kernel is larger, and the
    identity if the shape stays the same. Each branch ends in a batch norm. `mixed` gives their sum; a family's class adds what
    follows it.
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
        """Replace all branches by one convolution, in place and for evaluation only."""
        conv = merged([self.identity, self.conv_scale, *self.conv_kxk], *self.form)
        self.identity = self.conv_scale = None
        self.conv_kxk = nn.LayerList([conv])


@paddle.no_grad()
@paddle.no_grad()
def fold_behind(layer, norm):
    """Fold a batch norm into the convolution or linear layer in front of it, in place and for evaluation only. The caller removes
    the norm."""
    factor, offset = affine(norm)
    shape = [1, -1] if isinstance(layer, nn.Linear) else [-1, 1, 1, 1]   # Linear: (in, out), convolution: (out, in, h, w)
    if layer.bias is not None:
        offset = offset + layer.bias * factor
    layer.weight.set_value(layer.weight * factor.reshape(shape))
    set_parameter(layer, 'bias', offset)


def fold_in_front(norm, linear):
    """Fold a batch norm into the linear layer behind it, in place and for evaluation only. The caller removes the norm."""
    factor, offset = affine(norm)
    bias = offset @ linear.weight
    if linear.bias is not None:
        bias = bias + linear.bias
    linear.weight.set_value(linear.weight * factor.unsqueeze(1))   # (C, C')
    set_parameter(linear, 'bias', bias)


# Merging branches into one convolution.

def identity_kernel(channels, side, groups):
    """Weights (channels, channels / groups, side, side) of a convolution that returns its input."""
    depth = channels // groups
    taps = paddle.eye(depth).tile([groups, 1])                     # (channels, depth)
    return centred(taps.reshape([channels, depth, 1, 1]), side)


def centred(weight, side):
    """The kernel padded with zeros to `side` x `side` pixels."""
    rim = (side - weight.shape[-1]) // 2
    return F.pad(weight, [rim] * 4) if rim else weight


def kernel_and_bias(branch, channels, side, groups):
    """The convolution that a branch is equivalent to: weights with a kernel of `side` pixels, and a bias per channel.
    `channels` are those of its input."""
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
    """A convolution in evaluation mode with these weights (C', C / groups, side, side) and biases (C',)."""
    out_channels, depth, side, _ = weight.shape
    conv = pytorch_conv2d(depth * groups, out_channels, side, stride, groups, bias=True)
    set_parameter(conv, 'weight', weight)
    set_parameter(conv, 'bias', bias)
    conv.eval()
    return conv


@paddle.no_grad()
def merged(branches, in_channels, out_channels, side, stride=1, groups=1):
    """One convolution that computes the sum of the branches in evaluation. A branch may be None."""
    parts = [kernel_and_bias(branch, in_channels, side, groups) for branch in branches if branch is not None]
    weight, bias = (sum(each[1:], each[0]) for each in zip(*parts))
    return convolution_of(weight, bias, stride, groups)
