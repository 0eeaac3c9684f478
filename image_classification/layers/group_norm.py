"""A group norm of one group in operators that every engine has."""
from paddle import nn


class ByMeans(nn.GroupNorm):
    """A group norm of one group, computed from means: paddle2onnx's conversion of the layer gives NaN in ONNX Runtime for some
    networks, is inexact in MNN, and is no operator of LiteRT."""

    def forward(self, x):
        x = x - x.mean([1, 2, 3], keepdim=True)
        x = x / (x.square().mean([1, 2, 3], keepdim=True) + self._epsilon).sqrt()
        return x * self.weight.unsqueeze([1, 2]) + self.bias.unsqueeze([1, 2])


def by_means(norm):
    """Change the class of a GroupNorm of one group."""
    norm.__class__ = ByMeans
