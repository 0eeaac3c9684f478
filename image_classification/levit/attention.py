"""Reads the attention weights of LeViT, see `image_classification/explain/attention.py`."""
import numpy as np

from image_classification.layers.position_bias import shares
from image_classification.levit.model import Attention, AttentionSubsample, per_head


def among_pixels(layer, calls):
    """Weights (heads, H*W, H*W) among all pixels."""
    grid = tuple(calls[''].inputs[0].shape[1:3])
    query, key, _ = per_head(calls['qkv'].output, layer.heads).split(layer.parts, axis=3)
    pixels = np.arange(grid[0] * grid[1])
    return _weights(layer, query, key, grid), grid, pixels, pixels


def of_every_second_pixel(layer, calls):
    """Weights (heads, H'*W', H*W); every second pixel is a query."""
    grid = tuple(calls[''].inputs[0].shape[1:3])
    key, _ = per_head(calls['kv'].output, layer.heads).split(layer.parts, axis=3)
    pixels = np.arange(grid[0] * grid[1])
    asking = pixels.reshape(grid)[::2, ::2].ravel()
    return _weights(layer, per_head(calls['q'].output, layer.heads), key, grid), grid, asking, pixels


def _weights(layer, query, key, grid):
    return shares(query, key, layer.scale, layer.biases(*grid))[0]


WEIGHTS = {Attention: ('pixels', among_pixels), AttentionSubsample: ('pixels', of_every_second_pixel)}
