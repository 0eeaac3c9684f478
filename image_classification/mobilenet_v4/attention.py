"""Reads the attention weights of MobileNetV4's hybrid networks, see `image_classification/explain/attention.py`."""
import numpy as np

from image_classification.mobilenet_v4.model import MultiQueryAttention


def among_pixels(layer, calls):
    """Weights (heads, H*W, M). A key of the halved map is placed at the centre of its kernel."""
    x = calls[''].inputs[0]
    (h, w), weights = x.shape[2:], layer.attend(x)[0]              # (heads * H*W, M)
    step = 2 if len(layer.key) > 1 else 1
    keys = np.arange(0, h, step)[:, None] * w + np.arange(0, w, step)
    return weights.reshape([-1, h * w, keys.size]), (h, w), np.arange(h * w), keys.ravel()


WEIGHTS = {MultiQueryAttention: ('pixels', among_pixels)}
