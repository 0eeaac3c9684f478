"""Dynamic ReLU, https://arxiv.org/abs/2003.10027: the largest of a few lines, one set for each image and channel."""
import functools

import paddle
import paddle.nn.functional as F

from image_classification.layers import operators


def dynamic_relu(x, slopes, offsets=None):
    """max_k(slopes[k] * x + offsets[k]): (B, C, H, W) -> (B, C, H, W). Slopes and offsets are lists of (B, C, 1, 1)."""
    if len(slopes) == 2 and paddle.in_dynamic_mode() and x.place.is_cpu_place() and operators.serves(x):
        if offsets is None:
            offsets = [paddle.zeros_like(slopes[0])] * 2
        lines = [slopes[0], offsets[0], slopes[1], offsets[1]]
        return operators.dynamic_relu(x, paddle.concat(lines, axis=-1).flatten(2))
    line = _norm if paddle.in_dynamic_mode() and x.place.is_cpu_place() else _line
    lines = [line(x, slope, offset) for slope, offset in zip(slopes, offsets or [None] * len(slopes))]
    return functools.reduce(paddle.maximum, lines)


def _line(x, slope, offset):
    return x * slope if offset is None else x * slope + offset


def _norm(x, slope, offset):
    """The same bits as a batch norm of mean 0 and deviation 1 for each image and channel: one pass over the map, where the two
    broadcasts take 4 times as long, and 1.5 times with the gradients."""
    B, C, H, W = x.shape
    zeros, ones = paddle.zeros([B * C], x.dtype), paddle.ones([B * C], x.dtype)
    slope, offset = slope.flatten(), paddle.zeros_like(zeros) if offset is None else offset.flatten()
    if slope.stop_gradient != offset.stop_gradient:                # a gradient of one of them alone ends in a crash
        slope, offset = slope + zeros, offset + zeros
        slope.stop_gradient = offset.stop_gradient = False
    return F.batch_norm(x.reshape([1, B * C, H, W]), zeros, ones, slope, offset, epsilon=0.0).reshape(x.shape)
