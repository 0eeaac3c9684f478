"""Depthwise convolutions on a CPU. Small maps use one batched matrix product. Larger ones use an operator in C++ if it has been
built (`operators.py`), otherwise Paddle's convolution with a faster gradient."""
from functools import lru_cache

import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.cpu import operators
from image_classification.cpu.input_gradient import with_fast_gradient

# If the operator is available, matrices are faster only on the smallest maps, and only with enough images to make up for the
# cost of building the matrices. Measured for kernels 3 x 3 and 5 x 5, maps of 3 x 3 to 7 x 7, 16 and 128 images, gradients
# included. With 288 channels and 16 images, maps of 4 x 4 and kernel 5 x 5 take 0.9 ms as matrices and 3.6 ms in the operator;
# maps of 6 x 6 and kernel 3 x 3 take 4.3 and 3.4 ms.
_NUMBERS_BESIDE_OPERATOR = 25 ** 2                                 # in one channel's matrix
# Without the operator, matrices are faster up to here. Measured for kernels of 3 to 9, maps of 7 x 7 to 28 x 28, and batches of
# 1 to 32, gradients included. With AVX-512 the limit would be 1000. Without it, 8 images of 14 x 14 with kernel 5 x 5 (240
# channels) take 52 ms as matrices, 37 ms otherwise.
_NUMBERS_PER_IMAGE = 900                                           # in one channel's matrix, per image and row of the kernel
_MOST_NUMBERS = 2 ** 24                                            # in all matrices together: 64 MiB in float32


def depthwise(x, weight, stride, padding, training=True):
    """A depthwise convolution without bias, for a CPU in eager mode: (B, C, H, W), (C, 1, k_h, k_w) -> (B, C, H', W').

    `stride` is a pair, for H and W; `padding` is ((top, bottom), (left, right)). The form is chosen by the shapes alone, so
    that a training can be repeated bit for bit. With `training`, a faster backward pass is used. It always computes both
    gradients, so `paddle.grad` of only one fails. (Networks are explained in evaluation mode.)
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
    if training and max(stride) == 1:
        return with_fast_gradient(x, weight, padding, x.shape[1])
    return F.conv2d(x, weight, None, stride, [*padding[0], *padding[1]], 1, x.shape[1])


def _as_matrices(x, weight, stride, padding):
    """Compute x_c @ T_c for each channel c. T_c (H*W, H'*W') has the kernel's weights where an output pixel reads an input
    pixel, and zeros elsewhere. For (64, 288, 6, 6) this takes 0.5 ms, Paddle's kernel 14 ms."""
    (height, width), channels = x.shape[2:], x.shape[1]
    placement, out_size = _placement((height, width), tuple(weight.shape[2:]), tuple(stride), tuple(map(tuple, padding)),
                                     str(x.dtype))
    matrices = (weight.flatten(1) @ placement).reshape([channels, height * width, -1])  # (C, H*W, H'*W')
    out = x.flatten(2).transpose([1, 0, 2]) @ matrices             # (C, B, H'*W')
    return out.transpose([1, 0, 2]).reshape([0, channels, *out_size])


@lru_cache(maxsize=64)
def _placement(size, kernel, stride, padding, dtype):
    """Positions of each weight in T, as zeros and ones (k_h*k_w, H*W*H'*W'), and the output size (H', W')."""
    axes = []                                                      # per axis (k, in, out): 1 where weight k joins in and out
    for length, k, step, (before, behind) in zip(size, kernel, stride, padding):
        seen = np.arange((length + before + behind - k) // step + 1) * step - before + np.arange(k)[:, None]   # (k, out)
        axes.append((np.arange(length)[None, :, None] == seen[:, None, :]).astype(np.float64))
    both = np.einsum('aio,bjp->abijop', *axes)                     # (k_h, k_w, H, W, H', W')
    out_size = both.shape[4:]
    return paddle.to_tensor(both.reshape(kernel[0] * kernel[1], -1)).astype(dtype.rsplit('.', 1)[-1]), out_size
