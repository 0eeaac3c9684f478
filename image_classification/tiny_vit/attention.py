"""Reads the attention weights of TinyViT, see `image_classification/explain/attention.py`."""
from image_classification.cpu.attention import attention_weights
from image_classification.layers.windows import in_order
from image_classification.tiny_vit.model import TinyViTBlock


def within_windows(block, calls):
    """Weights (heads, H*W, N). The keys are the N = w * w pixels of the query's window."""
    attn, grid = block.attn, tuple(calls[''].inputs[0].shape[1:3])
    query, key, _ = attn.parts(calls['attn.qkv'].output)
    weights = attention_weights(query, key, attn.scale, attn.biases(attn.side, attn.side))      # (windows, heads, N, N)
    return in_order(weights.transpose([1, 0, 2, 3]), grid, attn.side)


WEIGHTS = {TinyViTBlock: ('windows', within_windows)}
