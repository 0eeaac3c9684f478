"""How the attention of EfficientViT is read, see `image_classification/explain/attention.py`."""
import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.efficientvit.model import LocalWindowAttention


def within_windows(layer, calls):
    """Cascaded heads: weights (heads, H*W, N), the N = w * w pixels of a query's window."""
    (h, w), side, attn = calls[''].inputs[0].shape[2:], layer.window, layer.attn
    heads = []
    for i, bias in enumerate(attn.biases()):
        query = calls[f'attn.dws.{i}'].output * attn.scale         # (windows, key_dim, w, w)
        key = calls[f'attn.qkvs.{i}'].output.split(attn.parts, axis=1)[1]
        scores = paddle.matmul(query.flatten(2), key.flatten(2), transpose_x=True)   # (windows, N, N)
        heads.append(F.softmax(scores + bias))
    rows, columns = -(-h // side), -(-w // side)
    down, right = np.divmod(np.arange(rows * columns), columns)    # of each window
    inner = np.divmod(np.arange(side * side), side)                # of each pixel in it
    down, right = (side * start[:, None] + step for start, step in zip((down, right), inner))  # (windows, N)
    real = (down < h) & (right < w)
    pixels = np.where(real, down * w + right, -1)
    order = np.argsort(pixels[real])
    weights = paddle.stack(heads).flatten(1, 2)[:, paddle.to_tensor(np.flatnonzero(real)[order])]
    return weights, (h, w), np.arange(h * w), np.repeat(pixels, side * side, 0)[real.ravel()][order]


WEIGHTS = {LocalWindowAttention: ('windows', within_windows)}
