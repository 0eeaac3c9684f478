"""Reads the attention weights of the authors' Mobile-Former, see `image_classification/explain/attention.py`."""
import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.layers import softmax_of_tokens, split_heads
from image_classification.mobileformer_official.model import GlobalBlock, GlobalToLocal, LocalToGlobal


def tokens_to_map(layer, calls):
    """Weights (heads, M, H*W) of the bridge to the tokens."""
    scores = calls[''].output[1]                                   # (1, heads, M, H, W)
    grid = tuple(scores.shape[3:])
    return F.softmax(scores.flatten(3))[0], grid, None, np.arange(grid[0] * grid[1])


def map_to_tokens(layer, calls):
    """Weights (heads, H*W, M) of the bridge to the map."""
    x, keys = calls[''].inputs[0], split_heads(calls['k'].output, layer.heads) * layer.scale   # (1, heads, M, c)
    query = x.reshape([0, keys.shape[1], keys.shape[3], -1])       # (1, heads, c, H*W)
    weights = softmax_of_tokens(keys @ query).transpose([0, 1, 3, 2])
    return weights[0], tuple(x.shape[2:]), np.arange(x.shape[2] * x.shape[3]), None


def among_tokens(layer, calls):
    """Weights (heads, M, M) of the attention among the tokens."""
    query = split_heads(calls['q'].output, layer.heads) * layer.scale
    return F.softmax(paddle.matmul(query, split_heads(calls[''].inputs[0], layer.heads), transpose_y=True))[0],


WEIGHTS = {LocalToGlobal: ('tokens to map', tokens_to_map), GlobalToLocal: ('map to tokens', map_to_tokens),
           GlobalBlock: ('tokens', among_tokens)}
