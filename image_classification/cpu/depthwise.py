"""Depthwise convolutions on a CPU: as one batched matrix product where the map is small, else by an operator in C++ where that is
built (`operators.py`), and with a faster gradient where it is not."""
from functools import lru_cache

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

from image_classification.cpu import operators

# Beside an operator, matrices win on the smallest maps alone, and only for as many images as are worth making the matrices.
# Measured for 3 x 3 and 5 x 5, maps of 3 x 3 to 7 x 7, 16 and 128 images, with gradients: 288 channels of 4 x 4 by 5 x 5 take 0.9
# ms for 16 images, the operator 3.6; of 6 x 6 by 3 x 3 4.3 and 3.4.
_NUMBERS_BESIDE_OPERATOR = 25 ** 2                                 # in one channel's matrix
# Measured for kernels of 3 to 9, maps of 7 x 7 to 28 x 28 and batches of 1 to 32, with gradients: matrices win up to here. With
# AVX-512 they would up to 1000; without, 8 images of 14 x 14 by 5 x 5 (240 channels) take 52 ms as matrices, 37 otherwise.
_NUMBERS_PER_IMAGE = 900                                           # in one channel's matrix, per image and row of the kernel
_MOST_NUMBERS = 2 ** 24                                            # in all matrices together: 64 MiB in float32


def depthwise(x, weight, stride, padding, training=True):
    """A depthwise convolution without bias, (B, C, H, W), (C, 1, k_h, k_w) -> (B, C, H', W'), for a CPU and eager mode.

    `stride` is a pair, for H and W; `padding` is ((top, bottom), (left, right)). Which form is taken depends on the shapes
    alone, so that a training repeats bit for bit. In `training` gradients are faster, but all are computed: `paddle.grad`,
    which leaves out what nobody asks for, fails on that. Explaining a network, it is in evaluation mode.
    """
    kernel = weight.shape[2:]
    numbers = 1                                                    # H*W*H'*W'
    for length, k, step, pads in zip(x.shape[2:], kernel, stride, padding):
        numbers *= length * max(0, (length + sum(pads) - k) // step + 1)
    matrices = numbers <= _NUMBERS_BESIDE_OPERATOR and x.shape[0] * max(kernel) >= numbers ** 0.5
    if numbers > 0 and not matrices and operators.serves(x):
        return operators.depthwise(x, weight, stride, padding)
    if 0 < numbers <= _NUMBERS_PER_IMAGE * max(kernel) * x.shape[0] and numbers * x.shape[1] <= _MOST_NUMBERS:
        return _as_matrices(x, weight, stride, padding)
    faster = max(stride) == 1 and all(max(pads) < k for k, pads in zip(kernel, padding))
    if not (faster and training) or x.stop_gradient or weight.stop_gradient or not paddle.is_grad_enabled():
        return _convolution(x, weight, stride, padding)
    return _InputGradient.apply(x, weight, _convolution(x.detach(), weight, stride, padding), padding)


def _convolution(x, weight, stride, padding):
    return F.conv2d(x, weight, None, stride, [*padding[0], *padding[1]], 1, weight.shape[0])


class _InputGradient(PyLayer):
    """The output of a depthwise convolution of stride 1 whose gradient does not reach the input, which gets it from here.

    It is the convolution of the output's gradient with the kernels turned by 180 degrees. Paddle has a fast kernel for
    convolutions, not for their gradients: (8, 144, 28, 28) by 3 x 3 takes 11.5 ms forward and backward, this 6.6.
    """

    @staticmethod
    def forward(ctx, x, weight, y, padding):
        ctx.save_for_backward(weight)
        ctx.padding = [[k - 1 - pad for pad in pads] for k, pads in zip(weight.shape[2:], padding)]
        return y.reshape(y.shape)                                  # a view: PyLayer takes y itself for changed in place

    @staticmethod
    def backward(ctx, grad):
        weight, = ctx.saved_tensor()
        return _convolution(grad, weight.flip([2, 3]), [1, 1], ctx.padding), None, grad


def _as_matrices(x, weight, stride, padding):
    """The kernel of channel c becomes a matrix T_c (H*W, H'*W') with the kernel's weights where an output pixel sees an input
    pixel and zeros elsewhere; the output is x_c @ T_c. Paddle's kernel takes 14 ms for (64, 288, 6, 6), this 0.5."""
    (height, width), channels = x.shape[2:], x.shape[1]
    placement, out_size = _placement((height, width), tuple(weight.shape[2:]), tuple(stride), tuple(map(tuple, padding)),
                                     str(x.dtype))
    matrices = (weight.flatten(1) @ placement).reshape([channels, height * width, -1])  # (C, H*W, H'*W')
    out = x.flatten(2).transpose([1, 0, 2]) @ matrices             # (C, B, H'*W')
    return out.transpose([1, 0, 2]).reshape([0, channels, *out_size])


@lru_cache(maxsize=64)
def _placement(size, kernel, stride, padding, dtype):
    """Where each weight stands in T: (k_h*k_w, H*W*H'*W') of zeros and ones, and (H', W')."""
    axes = []                                                      # per axis (k, in, out): 1 where out sees in by k
    for length, k, step, (before, behind) in zip(size, kernel, stride, padding):
        seen = np.arange((length + before + behind - k) // step + 1) * step - before + np.arange(k)[:, None]   # (k, out)
        axes.append((np.arange(length)[None, :, None] == seen[:, None, :]).astype(np.float64))
    both = np.einsum('aio,bjp->abijop', *axes)                     # (k_h, k_w, H, W, H', W')
    out_size = both.shape[4:]
    return paddle.to_tensor(both.reshape(kernel[0] * kernel[1], -1)).astype(dtype.rsplit('.', 1)[-1]), out_size
