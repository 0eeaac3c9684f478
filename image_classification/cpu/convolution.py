"""Convolutions that use the fastest exact form for their shape on a CPU."""
from types import MethodType

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu import operators
from image_classification.cpu.depthwise import depthwise
from image_classification.cpu.input_gradient import pays, with_fast_gradient

_FEW_PIXELS = 100
_HARDLY_ANY_PIXELS = 12


def Conv2D(*args, **kwargs):
    """An `nn.Conv2D` with these arguments and a faster forward pass on a CPU: (B, C, H, W) -> (B, C', H', W').

    Type, parameters, names and hooks are those of `nn.Conv2D`. On a GPU and in an export it computes exactly the same. On a
    CPU in eager mode, values and gradients are the same up to rounding. It is not a subclass, because Paddle's own tools
    (`paddle.flops`, quantization-aware training) look up a layer's exact type and skip all others.
    """
    conv = nn.Conv2D(*args, **kwargs)
    conv.forward = MethodType(_forward, conv)
    return conv


def _forward(self, x):                                             # a name that `paddle.jit.to_static` looks for
    if not has_fast_form(x, self):
        return nn.Conv2D.forward(self, x)
    y = convolve(x, self)
    return y if self.bias is None else _plus_bias(y, self.bias)


def conv_bn(x, conv, bn):
    """`bn(conv(x))` for a convolution with a bias, faster on a CPU: (B, C, H, W) -> (B, C', H', W').

    Values, gradients and running statistics are the same. Without a bias nothing is gained: call the two layers.

    On a CPU, Paddle adds a convolution's bias as [1, C, 1, 1], which costs several times the convolution itself
    (16 -> 96 channels at 56 x 56: 49 ms with, 15 ms without, forward and backward). The batch norm makes it superfluous:
    in training it subtracts the bias again with the batch's mean; in evaluation the bias can be added to the norm's own bias.
    """
    hooked = conv._forward_pre_hooks or conv._forward_post_hooks or bn._forward_pre_hooks or bn._forward_post_hooks
    others = type(conv) is not nn.Conv2D or type(bn) is not nn.BatchNorm2D       # e.g. with quantized weights
    if hooked or others or conv.bias is None or not has_fast_form(x, conv):
        return bn(conv(x))
    y = convolve(x, conv)
    if not bn.training or bn._use_global_stats:
        return F.batch_norm(y, bn._mean, bn._variance, bn.weight, _shifted_bias(conv, bn), training=False, epsilon=bn._epsilon)
    shift = conv.bias.detach()
    mean = bn._mean - shift                                        # the mean of y, which lacks the bias
    bias = bn.bias + 0.0 * conv.bias                               # a zero gradient, because DataParallel expects one
    y = F.batch_norm(y, mean, bn._variance, bn.weight, bias, training=True, momentum=bn._momentum, epsilon=bn._epsilon)
    bn._mean.set_value(mean + shift)
    return y


def _shifted_bias(conv, bn):
    """Bias for a batch norm in evaluation mode that includes the bias of the convolution before it."""
    return bn.bias + conv.bias * bn.weight * (bn._variance + bn._epsilon).rsqrt()


def has_fast_form(x, conv):
    """Whether `convolve` supports this convolution of `x`."""
    return (paddle.in_dynamic_mode() and x.place.is_cpu_place() and x.ndim == 4 and conv._padding_mode == 'zeros'
            and conv._data_format == 'NCHW')


def convolve(x, conv):
    """Apply `conv` without its bias: (B, C, H, W) -> (B, C', H', W'). For a CPU in eager mode."""
    groups, weight = conv._groups, conv.weight
    if max(conv._dilation) == 1:
        padding = _padding(conv, x.shape[2:])
        if weight.shape[2:] == [1, 1] and max(conv._stride) == 1 and not any(map(any, padding)):
            if groups > 1 and groups < x.shape[1] or x.shape[2] * x.shape[3] <= _FEW_PIXELS:
                return _pointwise(x, weight, groups)
        elif groups == x.shape[1] == weight.shape[0]:
            return depthwise(x, weight, conv._stride, padding, conv.training)
        elif groups == 1 and max(conv._stride) == 1 and conv.training and pays(x, weight):
            return with_fast_gradient(x, weight, padding)
    return F.conv2d(x, weight, None, conv._stride, conv._padding, conv._dilation, groups)


def _padding(conv, size):
    """Padding ((top, bottom), (left, right)) of a convolution on a map of `size`. Supports Paddle's 'SAME'."""
    if str(conv._padding).upper() == 'SAME':
        lacking = [max((-(-length // step) - 1) * step + k - length, 0)
                   for length, step, k in zip(size, conv._stride, conv.weight.shape[2:])]
        return [(pixels // 2, pixels - pixels // 2) for pixels in lacking]
    padding = list(conv._updated_padding)                          # two numbers if both sides are equal, else four
    return [(pad, pad) for pad in padding] if len(padding) == 2 else [tuple(padding[:2]), tuple(padding[2:])]


def linear_on_channels(x, weight, bias=None):
    """(B, C, N), (C, C'), (C') -> (B, C', N). In eager mode on a CPU it is a convolution, whose gradient takes 0.8 to 0.9 of the
    time of a product's."""
    if not paddle.in_dynamic_mode() or not x.place.is_cpu_place():
        y = paddle.matmul(weight, x, transpose_x=True)
        return y if bias is None else y + bias.unsqueeze(1)
    y = F.conv2d(x.unsqueeze(3), weight.transpose([1, 0]).unsqueeze([2, 3]))
    return (y if bias is None else _plus_bias(y, bias)).squeeze(3)


def _plus_bias(y, bias):
    """Add a bias (C) to a map (B, C, H, W) that nothing else uses."""
    # Paddle adds it by a slow broadcast of [1, C, 1, 1]: for 16 -> 96 channels at 56 x 56 it takes 16 of 18 ms.
    return operators.add_bias(y, bias, y.shape[2] * y.shape[3]) if operators.serves(y) else y + bias.unsqueeze([1, 2])


def is_pointwise(conv):
    """Whether it is a 1x1 convolution with stride 1 and no padding."""
    return conv.weight.shape[2:] == [1, 1] and max(conv._stride) == 1 and conv._padding == 0


class Product(nn.Conv2D):
    """A 1x1 convolution with stride 1 and no bias that is a matrix product even in an export."""

    def forward(self, x):
        return _pointwise(x, self.weight, self._groups)


@paddle.no_grad()
def as_product(conv, bn=None):
    """Turn a 1x1 convolution with stride 1 into a `Product`, in a network for evaluation. If it has a bias, this moves to `bn`,
    the batch norm that follows."""
    if conv.bias is not None:
        bn.bias.set_value(_shifted_bias(conv, bn))
        conv.bias = None
    vars(conv).pop('forward', None)
    conv.__class__ = Product


def _pointwise(x, weight, groups):
    """A 1x1 convolution as a matrix product: (B, C, H, W), (C', C / groups, 1, 1) -> (B, C', H, W).

    Time compared with the convolution:
    - On a map of one pixel it is a linear layer and takes a third of the time. With groups it takes 0.7 to 0.9 of the time.
    - On other small maps it is as fast on one thread, and faster on several threads: these synchronize once instead of once
      per image. On large maps its gradient is slower.
    - With groups on a map of 3 x 3, one product over all images is faster, because the gradient of the weights is a single
      product, too (64 images, 96 -> 576 channels: 2.2 ms instead of 5.3 ms, forward and backward).
    """
    height, width = x.shape[2:]
    if groups == 1 and paddle.in_dynamic_mode() and height == width == 1:
        out = paddle.matmul(x.flatten(1), weight.flatten(1), transpose_y=True)  # (B, C')
    elif groups == 1:
        out = weight.flatten(1) @ x.flatten(2)                     # (B, C', H*W)
    elif paddle.in_dynamic_mode() and height * width <= _HARDLY_ANY_PIXELS:
        columns = x.transpose([1, 0, 2, 3]).reshape([groups, weight.shape[1], -1])   # (groups, C / groups, B*H*W)
        out = paddle.bmm(weight.reshape([groups, -1, weight.shape[1]]), columns)
        return out.reshape([weight.shape[0], -1, height, width]).transpose([1, 0, 2, 3])
    else:
        parts = x.reshape([0, groups, weight.shape[1], -1])        # (B, groups, C / groups, H*W)
        out = weight.reshape([1, groups, -1, weight.shape[1]]) @ parts
    return out.reshape([0, weight.shape[0], height, -1])
