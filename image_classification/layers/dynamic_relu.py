"""Dynamic ReLU, https://arxiv.org/abs/2003.10027: the largest of a few lines, one set for each image and channel."""
import paddle

from image_classification.layers import operators


def dynamic_relu(x, slopes, offsets=None):
    """max_k(slopes[k] * x + offsets[k]): (B, C, H, W) -> (B, C, H, W). Slopes and offsets are lists of (B, C, 1, 1)."""
    if len(slopes) == 2 and paddle.in_dynamic_mode() and x.place.is_cpu_place() and operators.serves(x):
        if offsets is None:
            offsets = [paddle.zeros_like(slopes[0])] * 2
        lines = [slopes[0], offsets[0], slopes[1], offsets[1]]
        return operators.dynamic_relu(x, paddle.concat(lines, axis=-1).flatten(2))
    out = None
    for i, slope in enumerate(slopes):
        line = x * slope if offsets is None else x * slope + offsets[i]
        out = line if out is None else paddle.maximum(out, line)
    return out
