"""Stochastic depth, https://arxiv.org/abs/1603.09382."""
import paddle
from paddle import nn


class DropPath(nn.Layer):
    """Zeroes whole samples with probability `p` in training and scales the others by 1 / (1 - p); any shape (B, ...)."""

    def __init__(self, p=0.0):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0.0:
            return x
        keep = paddle.rand([x.shape[0]] + [1] * (x.ndim - 1), dtype=x.dtype) >= self.p
        return x * (keep.astype(x.dtype) / (1.0 - self.p))


def drop_path_rates(rate, depths):
    """Drop-path rates that rise linearly from 0 in the first block to `rate` in the last, as one list per stage."""
    rates = [rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
    return [rates[sum(depths[:i]):sum(depths[:i + 1])] for i in range(len(depths))]
