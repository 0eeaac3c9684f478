"""Attention among tokens, in a layout that is fast on a CPU.

Export: the tokens of a head are rows, (B, heads, N, d). Eager mode: they are columns, (B, heads, d, N), because Paddle copies a
transposition of two axes three times as fast as one of four axes. Only the functions below look into the layout.
"""
import paddle
import paddle.nn.functional as F

from image_classification.cpu.heads import merge_heads, split_heads


def split_by_head(tokens, heads, parts):
    """Split the numbers of each head into parts, e.g. query, key and value: tokens (B, N, heads * sum(parts))."""
    if not paddle.in_dynamic_mode():
        return split_heads(tokens, heads).split(parts, axis=3)
    columns = tokens.transpose([0, 2, 1]).reshape([0, heads, sum(parts), tokens.shape[1]])
    return columns.split(parts, axis=2)


def split_by_part(tokens, heads, count=3):
    """The same if each part comes with all of its heads, as in timm's `qkv` layers: tokens (B, N, count * C)."""
    if not paddle.in_dynamic_mode():
        return [split_heads(part, heads) for part in tokens.chunk(count, axis=-1)]
    size = tokens.shape[2] // (count * heads)
    return [part.reshape([0, heads, size, tokens.shape[1]]) for part in tokens.transpose([0, 2, 1]).chunk(count, axis=1)]


def attention_weights(query, key, scale, biases=None):
    """Softmax of each query over the keys: parts of N' and N tokens, biases (heads, N', N) -> (B, heads, N', N)."""
    columns = paddle.in_dynamic_mode()
    scores = paddle.matmul(query * scale, key, transpose_x=columns, transpose_y=not columns)
    return F.softmax(scores if biases is None else scores + biases)


def attended(weights, value):
    """What each query reads: (B, heads, N', N), a part of N tokens -> (B, N', heads * D)."""
    if not paddle.in_dynamic_mode():
        return merge_heads(paddle.matmul(weights, value))
    return paddle.matmul(value, weights, transpose_y=True).flatten(1, 2).transpose([0, 2, 1])
