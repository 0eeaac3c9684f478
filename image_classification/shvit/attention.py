"""Reads the attention weights of SHViT, see `image_classification/explain/attention.py`."""
import numpy as np

from image_classification.shvit.model import SHSA


def among_pixels(layer, calls):
    """Weights (1, H*W, H*W) of the single head."""
    grid = tuple(calls[''].inputs[0].shape[2:])
    query, key, _ = calls['qkv'].output.split(layer.parts, axis=1)
    pixels = np.arange(grid[0] * grid[1])
    return layer.weights(query, key), grid, pixels, pixels


WEIGHTS = {SHSA: ('pixels', among_pixels)}
