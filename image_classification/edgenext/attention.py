"""Reads the attention weights of EdgeNeXt, see `image_classification/explain/attention.py`."""
import paddle
import paddle.nn.functional as F

from image_classification.edgenext.model import XCA
from image_classification.layers import of_length_one


def among_channels(layer, calls):
    """Weights (heads, c, c) between the channels of a head."""
    channels = calls[''].inputs[0].shape[1] // layer.heads
    query, key, _ = calls['qkv'].output.reshape([0, 3, layer.heads, channels, -1]).unbind(1)
    return F.softmax(paddle.einsum('bhcn,bhdn->bhcd', of_length_one(query), of_length_one(key)) * layer.temperature)[0],


WEIGHTS = {XCA: ('channels', among_channels)}
