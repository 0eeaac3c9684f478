"""Where the pixels of a map are that is parted into square windows, padded below and to the right."""
import numpy as np
import paddle


def in_order(weights, grid, side):
    """Attention within windows by pixels of the map: (heads, windows, N, N) with N = side ** 2 -> (weights (heads, H*W, N), grid,
    the number of each query, the numbers of its keys, (H*W, N), of which those of padding are -1)."""
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
