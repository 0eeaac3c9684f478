"""Reads the attention weights of LeViT, see `image_classification/explain/attention.py`."""
import numpy as np

from image_classification.cpu.attention import attention_weights, split_by_head
from image_classification.levit.model import Attention, AttentionSubsample


def among_pixels(layer, calls):
    """Weights (heads, H*W, H*W) among all pixels."""
    grid = tuple(calls[''].inputs[0].shape[1:3])
    query, key, _ = split_by_head(calls['qkv'].output.flatten(1, 2), layer.heads, layer.parts)
    pixels = np.arange(grid[0] * grid[1])
    return _weights(layer, query, key, grid), grid, pixels, pixels


def of_every_second_pixel(layer, calls):
    """Weights (heads, H'*W', H*W); every second pixel is a query."""
    grid = tuple(calls[''].inputs[0].shape[1:3])
    query, = split_by_head(calls['q'].output.flatten(1, 2), layer.heads, layer.parts[:1])
    key, _ = split_by_head(calls['kv'].output.flatten(1, 2), layer.heads, layer.parts)
    pixels = np.arange(grid[0] * grid[1])
    asking = pixels.reshape(grid)[::2, ::2].ravel()
    return _weights(layer, query, key, grid), grid, asking, pixels


def _weights(layer, query, key, grid):
    return attention_weights(query, key, layer.scale, layer.biases(*grid))[0]


WEIGHTS = {Attention: ('pixels', among_pixels), AttentionSubsample: ('pixels', of_every_second_pixel)}
