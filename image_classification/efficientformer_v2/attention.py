"""Reads the attention weights of EfficientFormerV2, see `image_classification/explain/attention.py`."""
import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.efficientformer_v2.model import Attention4DDownsample


def of_every_second_pixel(layer, calls):
    """Weights (heads, H'*W', H*W). Talking heads are left out: they mix the weights after the softmax, so these no longer sum
    to 1."""
    grid = tuple(calls[''].inputs[0].shape[2:])
    query, key = (calls[name].output.flatten(2).reshape([0, layer.heads, -1, pixels])
                  for name, pixels in (('q', -(-grid[0] // 2) * -(-grid[1] // 2)), ('k', grid[0] * grid[1])))
    scores = paddle.matmul(query * layer.scale, key, transpose_x=True)
    pixels = np.arange(grid[0] * grid[1])
    asking = pixels.reshape(grid)[::2, ::2].ravel()
    return F.softmax(scores + layer.biases(*grid))[0], grid, asking, pixels


WEIGHTS = {Attention4DDownsample: ('pixels', of_every_second_pixel)}
