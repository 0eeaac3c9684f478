"""Dynamic ReLU, https://arxiv.org/abs/2003.10027: the maximum of a few linear functions, chosen per image and channel."""
import functools

import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

from image_classification.cpu import operators, paddle_internals


def dynamic_relu(x, slopes, offsets=None):
    """max_k(slopes[k] * x + offsets[k]): (B, C, H, W) -> (B, C, H, W). Slopes and offsets are lists of (B, C, 1, 1); while
    tracing, they may also be vectors (B * C), which saves operations."""
    if not paddle.in_dynamic_mode():
        return _of_planes(x, slopes, offsets)
    if not x.place.is_cpu_place():
        return _largest(_line, x, slopes, offsets)
    if len(slopes) == 2 and operators.serves(x):
        if offsets is None:
            offsets = [paddle.zeros_like(slopes[0])] * 2
        lines = [slopes[0], offsets[0], slopes[1], offsets[1]]
        return operators.dynamic_relu(x, paddle.concat(lines).reshape([4, *x.shape[:2]]))
    B, C, H, W = x.shape
    flat = [None if values is None else [value.flatten() for value in values] for values in (slopes, offsets)]
    line = functools.partial(_norm, zeros=paddle.zeros([B * C], x.dtype), ones=paddle.ones([B * C], x.dtype))
    return _largest(line, x.reshape([1, B * C, H, W]), *flat).reshape(x.shape)


def _of_planes(x, slopes, offsets):
    """The form for tracing. Images and channels are joined into one dimension, because with two dimensions oneDNN uses its
    slowest multiplication (MobileFormer-26M at batch 8: 203 ms, 155 of them in three blocks). Each line is a batch norm, a
    single pass in most engines, except in the older program format, where batch norms need constants.
    """
    pir = not paddle_internals.traces_older_program()
    shape = [-1] if pir else [1, -1, 1, 1]
    given = [None if values is None else [value if len(value.shape) == len(shape) == 1 else value.reshape(shape)
                                          for value in values] for values in (slopes, offsets)]
    # Not `zeros_like`: it needs a shape, which takes several operations in ONNX.
    line = functools.partial(_norm, zeros=given[0][0] * 0, ones=given[0][0] * 0 + 1) if pir else _line
    return _largest(line, x.reshape([1, -1, 0, 0]), *given).reshape([-1, x.shape[1], 0, 0])


def _largest(line, x, slopes, offsets):
    return functools.reduce(_larger, [line(x, *pair) for pair in zip(slopes, offsets or [None] * len(slopes))])


def _larger(x, y):
    """`paddle.maximum`, with a gradient that takes a third of the time on a CPU."""
    plain = not paddle.in_dynamic_mode() or not x.place.is_cpu_place() or not paddle.is_grad_enabled()
    return paddle.maximum(x, y) if plain or x.stop_gradient or y.stop_gradient else _Larger.apply(x, y)


class _Larger(PyLayer):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward((x - y).sign().scale_(0.5, 0.5))     # share of the gradient for x: half if both are equal
        return paddle.maximum(x, y)

    @staticmethod
    def backward(ctx, grad):
        share, = ctx.saved_tensor()
        of_x = grad * share
        return of_x, grad - of_x


def _line(x, slope, offset):
    return x * slope if offset is None else x * slope + offset


def _norm(x, slope, offset, zeros, ones):
    """slope * x + offset as a batch norm with mean 0 and variance 1: x (1, N, H, W), all others (N). It is one pass over the
    map and gives the same bits. In eager mode on a CPU, two broadcasts take 4 times as long, 1.5 times with gradients."""
    offset = zeros if offset is None else offset
    if slope.stop_gradient != offset.stop_gradient:                # Paddle crashes if only one of them gets a gradient
        slope, offset = slope + zeros, offset + zeros
        slope.stop_gradient = offset.stop_gradient = False
    return F.batch_norm(x, zeros, ones, slope, offset, epsilon=0.0)
