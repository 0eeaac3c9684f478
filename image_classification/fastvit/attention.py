"""Reads the attention weights of FastViT, see `image_classification/explain/attention.py`."""
import numpy as np

from image_classification.fastvit.model import Attention


def among_pixels(layer, calls):
    """Weights (heads, H*W, H*W) among all pixels."""
    image = calls[''].inputs[0]
    grid = tuple(image.shape[2:])
    pixels = np.arange(grid[0] * grid[1])
    return layer.attend(image)[1][0], grid, pixels, pixels


WEIGHTS = {Attention: ('pixels', among_pixels)}
