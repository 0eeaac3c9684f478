"""Reads the attention weights of UniFormer and UniFormer-Light, see `image_classification/explain/attention.py`."""
import numpy as np
import paddle

from image_classification.uniformer.blocks import CBlock, SABlock
from image_classification.uniformer.light import EvoSABlock


def among_pixels(layer, calls):
    """Weights (heads, H*W, H*W) of a global block."""
    grid = tuple(calls[''].inputs[0].shape[2:])
    pixels = np.arange(grid[0] * grid[1])
    return layer.attn.attend(calls['norm1'].output)[1][0], grid, pixels, pixels


def among_kept_pixels(layer, calls):
    """Weights of a global block of UniFormer-Light among the class token, the pixels that the block keeps (best first), and
    the token that summarises all others."""
    _, x, scores = calls[''].inputs
    grid, weights = tuple(x.shape[2:]), layer.attn.attend(calls['norm1'].output)[1][0]
    pixels = np.arange(grid[0] * grid[1])
    if layer.keep_ratio < 1.0:
        kept = int(len(pixels) * layer.keep_ratio)
        pixels = np.append(paddle.argsort(scores, 1, descending=True)[0, :kept].numpy(), -1)
    pixels = np.append(-1, pixels)
    return weights, grid, pixels, pixels


def kernels(layer, calls):
    """Weights (1, C, k * k) of a local block."""
    kernel = layer.attn.weight                                     # (C, 1, k, k)
    grid = tuple(kernel.shape[2:])
    return kernel.flatten(2).transpose([1, 0, 2]), grid, None, np.arange(grid[0] * grid[1])


WEIGHTS = {SABlock: ('pixels', among_pixels), EvoSABlock: ('pixels', among_kept_pixels), CBlock: ('kernels', kernels)}
