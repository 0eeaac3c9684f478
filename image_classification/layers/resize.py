"""Bilinear resizing of maps."""
import functools

import numpy as np
import paddle
import paddle.nn.functional as F


def resize_bilinear(x, size, corners):
    """(B, C, H, W) -> (B, C, *size), without antialiasing. With `corners`, the centres of the corner pixels are aligned.

    Eager mode uses two matrix products, because Paddle computes the positions in float32, too coarse for float64.
    """
    if not paddle.in_dynamic_mode():
        return F.interpolate(x, size, mode='bilinear', align_corners=corners)
    rows, columns = (paddle.to_tensor(_weights(before, after, corners), x.dtype) for before, after in zip(x.shape[2:], size))
    return rows @ x @ columns.t()


@functools.lru_cache(maxsize=64)
def _weights(before, after, corners):
    """(after, before): the weight of each old pixel of a row in each new one."""
    new = np.arange(after)
    places = new * (before - 1) / max(after - 1, 1) if corners else np.maximum((new + 0.5) * before / after - 0.5, 0.0)
    left = np.minimum(places.astype(int), before - 1)
    right, share = np.minimum(left + 1, before - 1), places - left
    weights = np.zeros((after, before))
    np.add.at(weights, (new, left), 1.0 - share)
    np.add.at(weights, (new, right), share)
    return weights
