"""How the attention of EfficientFormerV2 is read, see `image_classification/explain/attention.py`."""
import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.efficientformer_v2.model import Attention4DDownsample


def of_every_second_pixel(layer, calls):
    """Weights (heads, H'*W', H*W). Those of talking heads are mixed behind the softmax, and sum to nothing particular."""
    grid = tuple(calls[''].inputs[0].shape[2:])
    query, key = (calls[name].output.flatten(2).reshape([0, layer.heads, -1, pixels])
                  for name, pixels in (('q', -(-grid[0] // 2) * -(-grid[1] // 2)), ('k', grid[0] * grid[1])))
    scores = paddle.matmul(query * layer.scale, key, transpose_x=True)
    pixels = np.arange(grid[0] * grid[1])
    asking = pixels.reshape(grid)[::2, ::2].ravel()
    return F.softmax(scores + layer.biases(*grid))[0], grid, asking, pixels


WEIGHTS = {Attention4DDownsample: ('pixels', of_every_second_pixel)}
