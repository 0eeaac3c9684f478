"""Attention heads, and attention between a map and a few tokens, in forms that are fast on a CPU."""
import functools

import paddle
import paddle.nn.functional as F

_LONG = 150                                                        # fewest pixels in a row for `softmax_by_rows`


def split_heads(tokens, heads):                                    # (B, N, D)
    return tokens.reshape([0, 0, heads, tokens.shape[2] // heads]).transpose([0, 2, 1, 3])  # (B, heads, N, D / heads)


def merge_heads(tokens):                                           # (B, heads, N, d)
    return tokens.transpose([0, 2, 1, 3]).flatten(2)               # (B, N, heads * d)


def softmax_of_tokens(scores):
    """Softmax over the M tokens: scores (B, heads, M, L) -> weights of M tokens for each of L pixels, of the same shape.

    On a CPU, long rows are computed one by one. This gives the same bits in a quarter of the time that Paddle's softmax takes
    over any dimension but the last.
    """
    rows = paddle.in_dynamic_mode() and scores.place.is_cpu_place() and scores.shape[3] >= _LONG
    return softmax_by_rows(scores) if rows else F.softmax(scores, axis=2)


def softmax_by_rows(scores):
    """`softmax_of_tokens`, computed one token after another."""
    rows = scores.chunk(scores.shape[2], axis=2)                   # M times (B, heads, 1, L)
    with paddle.no_grad():                                         # the maximum cancels out, also in the gradient
        largest = functools.reduce(paddle.maximum, rows)
    rows = [(row - largest).exp() for row in rows]
    share = sum(rows[1:], rows[0]).reciprocal()
    return paddle.concat([row * share for row in rows], axis=2)


def read_map(attn, keys):
    """Values that M tokens read from a map of L pixels: (B, heads, M, L), (B, heads, c, L) -> (B, heads, M, c)."""
    if paddle.in_dynamic_mode():
        return paddle.matmul(attn, keys, transpose_y=True)
    # Transpose the smaller operand, as a separate step: on a map of one pixel, oneDNN ignores `transpose_y` and reads garbage.
    return (keys @ attn.transpose([0, 1, 3, 2])).transpose([0, 1, 3, 2])


def per_head(tokens, weight):
    """A linear layer without bias for each head: (B, heads, M, d), (heads, d, d') -> (B, heads, M, d').

    In eager mode all images form one product, and the gradient of the weights is one, too. This takes a third of the time on a
    CPU.
    """
    if not paddle.in_dynamic_mode():
        return tokens @ weight.unsqueeze(0)
    heads, inputs, outputs = weight.shape
    rows = paddle.bmm(tokens.transpose([1, 0, 2, 3]).reshape([heads, -1, inputs]), weight)   # (heads, B * M, d')
    return rows.reshape([heads, tokens.shape[0], -1, outputs]).transpose([1, 0, 2, 3])
