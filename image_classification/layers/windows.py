"""Attention in square windows, put back into the order of the map's pixels. Maps are padded below and to the right."""
import numpy as np
import paddle


def in_order(weights, grid, side):
    """Orders attention weights within windows by the pixels of the map: (heads, windows, N, N) with N = side ** 2 -> (weights
    (heads, H*W, N), grid, pixel of each query (H*W,), pixels of its keys (H*W, N), -1 for padding)."""
    height, width = grid
    rows, columns = -(-height // side), -(-width // side)
    down, right = np.divmod(np.arange(rows * columns), columns)    # of each window
    inner = np.divmod(np.arange(side * side), side)                # of each pixel in it
    down, right = (side * start[:, None] + step for start, step in zip((down, right), inner))  # (windows, N)
    real = (down < height) & (right < width)
    pixels = np.where(real, down * width + right, -1)
    order = np.argsort(pixels[real])
    weights = weights.flatten(1, 2)[:, paddle.to_tensor(np.flatnonzero(real)[order])]
    return weights, grid, np.arange(height * width), np.repeat(pixels, side * side, 0)[real.ravel()][order]


def with_zeros(x, counts):
    """Append zeros to a tensor of a fixed shape: `counts` is {axis: number}. For Paddle-Lite, which lacks F.pad."""
    for axis, count in counts.items():
        if count:
            x = paddle.concat([x, paddle.zeros([*x.shape[:axis], count, *x.shape[axis + 1:]])], axis=axis)
    return x
