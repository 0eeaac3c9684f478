"""Attention with a learnt bias for each distance between two pixels, as in LeViT (https://arxiv.org/abs/2104.01136)."""
import functools

import numpy as np
import paddle
from paddle import nn


def distances(side, height=None, width=None, stride=1):
    """Indices (N', N) into the table of biases, |dy| * side + |dx|. The keys are the N pixels of a map, the queries every
    `stride`-th pixel in both directions.

    The map is `height` x `width` pixels, by default `side` x `side`. The table ends at a distance of side - 1; larger
    distances count as that. `height` and `width` may be unknown in an export.
    """
    sizes = [side if length is None else length for length in (height, width)]
    if all(isinstance(length, int) for length in sizes):
        return paddle.to_tensor(_known_distances(side, *sizes, stride))
    rows, columns = [_steps(side, length, stride) for length in sizes]   # (h', h), (w', w)
    table = rows.unsqueeze([1, 3]) * side + columns.unsqueeze([0, 2])    # (h', w', h, w)
    return table.flatten(2).flatten(0, 1)


def _steps(side, length, stride):
    keys = paddle.arange(length, dtype='int64')
    return (keys[::stride].unsqueeze(1) - keys).abs().clip(max=side - 1)


@functools.lru_cache(maxsize=16)
def _known_distances(side, height, width, stride):
    """`distances` as an array. Exports of a fixed size have it as a constant, because some engines lack the operators."""
    keys = [np.arange(length) for length in (height, width)]
    rows, columns = (abs(each[::stride, None] - each).clip(max=side - 1) for each in keys)
    return (rows[:, None, :, None] * side + columns[None, :, None]).reshape(rows.shape[0] * columns.shape[0], -1)


class PositionBias(nn.Layer):
    """Biases that attention among the pixels of a map adds to its scores. The parameter `attention_biases` (heads, side ** 2)
    holds one value per distance in a map of `side` x `side` pixels; maps of other sizes use the same values.

    With `stride`, only every stride-th pixel in both directions is a query.
    """

    def __init__(self, heads, side, stride=1):
        super().__init__()
        self.heads, self.side, self.stride = heads, side, stride
        self.attention_biases = self.create_parameter([heads, side * side], default_initializer=nn.initializer.Constant(0.0))
        self.register_buffer('attention_bias_idxs', distances(side, stride=stride), persistable=False)

    def is_own(self, height, width):
        """Whether the map is known to be `side` x `side` pixels; sizes may be unknown in an export."""
        return isinstance(height, int) and isinstance(width, int) and (height, width) == (self.side, self.side)

    def biases(self, height, width):
        """The bias of each head for each pair of query and key in a map of this size: (heads, N', N)."""
        if self.is_own(height, width):
            # `.to(dtype=...)` turns this buffer into floats, too
            idxs = self.attention_bias_idxs.astype('int64')
        else:
            idxs = distances(self.side, height, width, self.stride)
        return paddle.gather(self.attention_biases, idxs.flatten(), axis=1).reshape([self.heads, -1, height * width])


class Gathered:
    """Mix-in in front of a PositionBias class, for weights that no longer change: the biases of a map of the layer's own size
    are looked up once."""

    def biases(self, height, width):
        if self.is_own(height, width):
            return self.gathered
        return looked_up(self.rows, distances(self.side, height, width, self.stride))


def looked_up(rows, indices):
    """(side ** 2, heads), (N', N) -> (heads, N', N). Engines copy rows of several numbers faster than single ones."""
    found = rows.index_select(indices.flatten(), axis=0).reshape([*indices.shape, rows.shape[1]])
    return found.transpose([2, 0, 1])


def gather(layer, form):
    """Change the class of a PositionBias layer to `form`, a subclass with `Gathered` in front."""
    layer.register_buffer('gathered', layer.biases(layer.side, layer.side), persistable=False)
    layer.register_buffer('rows', layer.attention_biases.transpose([1, 0]), persistable=False)
    layer.__class__ = form


def bias_tables(network):
    """Names of a network's learnt attention biases, which take no weight decay."""
    return {name for name, _ in network.named_parameters() if name.endswith('attention_biases')}
