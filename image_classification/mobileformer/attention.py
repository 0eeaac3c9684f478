"""Reads the attention weights of Mobile-Former, see `image_classification/explain/attention.py`."""
import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.layers import softmax_of_tokens, split_heads
from image_classification.mobileformer.model import Attention, ToFormer_Bridge, ToMobile_Bridge


def tokens_to_map(layer, calls):
    """Weights (heads, M, H*W) of the bridge to the Former."""
    x, tokens = calls[''].inputs
    keys = x.reshape([0, layer.heads, x.shape[1] // layer.heads, -1])
    weights = F.softmax(layer.heads_q_proj(layer.input_norm(tokens)) @ keys)
    return weights[0], tuple(x.shape[2:]), None, np.arange(x.shape[2] * x.shape[3])


def map_to_tokens(layer, calls):
    """Weights (heads, H*W, M) of the bridge to the Mobile path."""
    x, tokens = calls[''].inputs
    keys = layer.heads_k_proj(layer.input_token_norm(tokens))      # (1, heads, M, c), scaled
    query = x.reshape([0, keys.shape[1], keys.shape[3], -1])       # (1, heads, c, H*W)
    weights = softmax_of_tokens(keys @ query).transpose([0, 1, 3, 2])
    return weights[0], tuple(x.shape[2:]), np.arange(x.shape[2] * x.shape[3]), None


def among_tokens(layer, calls):
    """Weights (heads, M, M) of the Former."""
    query, key, _ = (split_heads(part, layer.heads) for part in calls['qkv_proj'].output.chunk(3, axis=-1))
    return F.softmax(paddle.matmul(query * layer.scale, key, transpose_y=True))[0],


WEIGHTS = {ToFormer_Bridge: ('tokens to map', tokens_to_map), ToMobile_Bridge: ('map to tokens', map_to_tokens),
           Attention: ('tokens', among_tokens)}
