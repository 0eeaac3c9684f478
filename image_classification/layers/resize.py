"""Bilinear resizing of maps."""
import functools

import numpy as np
import paddle
import paddle.nn.functional as F


def resize_bilinear(x, size, corners):
    """(B, C, H, W) -> (B, C, *size), without antialiasing; with `corners`, the corner pixels' centres stay where they are.

    In eager mode by two products: Paddle's own computes places in float32, which float64 would see.
    """
    if not paddle.in_dynamic_mode():
        return F.interpolate(x, size, mode='bilinear', align_corners=corners)
    rows, columns = (paddle.to_tensor(_weights(before, after, corners), x.dtype) for before, after in zip(x.shape[2:], size))
    return rows @ x @ columns.t()


@functools.lru_cache(maxsize=64)
def _weights(before, after, corners):
    """(after, before): how much each new pixel of a row takes of each old one."""
    new = np.arange(after)
    places = new * (before - 1) / max(after - 1, 1) if corners else np.maximum((new + 0.5) * before / after - 0.5, 0.0)
    left = np.minimum(places.astype(int), before - 1)
    right, share = np.minimum(left + 1, before - 1), places - left
    weights = np.zeros((after, before))
    np.add.at(weights, (new, left), 1.0 - share)
    np.add.at(weights, (new, right), share)
    return weights
