"""Reads the attention weights of EdgeNeXt, see `image_classification/explain/attention.py`."""
import paddle
import paddle.nn.functional as F

from image_classification.edgenext.model import XCA, unit


def among_channels(layer, calls):
    """Weights (heads, c, c) between the channels of a head."""
    channels = calls[''].inputs[0].shape[1] // layer.heads
    query, key, _ = calls['qkv'].output.reshape([0, 3, layer.heads, channels, -1]).unbind(1)
    return F.softmax(paddle.einsum('bhcn,bhdn->bhcd', unit(query), unit(key)) * layer.temperature)[0],


WEIGHTS = {XCA: ('channels', among_channels)}
