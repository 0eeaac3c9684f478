"""Reads the attention weights of EfficientViT, see `image_classification/explain/attention.py`."""
import paddle
import paddle.nn.functional as F

from image_classification.efficientvit.model import LocalWindowAttention
from image_classification.layers.windows import in_order


def within_windows(layer, calls):
    """Weights (heads, H*W, N) of the cascaded heads; the keys are the N = w * w pixels of the query's window."""
    (h, w), side, attn = calls[''].inputs[0].shape[2:], layer.window, layer.attn
    heads = []
    for i, bias in enumerate(attn.biases()):
        query = calls[f'attn.dws.{i}'].output * attn.scale         # (windows, key_dim, w, w)
        key = calls[f'attn.qkvs.{i}'].output.split(attn.parts, axis=1)[1]
        scores = paddle.matmul(query.flatten(2), key.flatten(2), transpose_x=True)   # (windows, N, N)
        heads.append(F.softmax(scores + bias))
    return in_order(paddle.stack(heads), (h, w), side)


WEIGHTS = {LocalWindowAttention: ('windows', within_windows)}
