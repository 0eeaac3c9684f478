"""Layer norms and vectors of unit length in the fastest exact form available on a CPU."""
from paddle import nn

from image_classification.cpu import operators


class LayerNorm(nn.LayerNorm):
    """Normalizes the last axis: (..., C) -> (..., C). Paddle's gradient takes ten times as long as the operator's."""

    def forward(self, x):
        if operators.serves(x):
            return operators.row_norm(x, self.weight, self.bias, self._epsilon)
        return super().forward(x)


class LayerNorm2D(nn.LayerNorm):
    """Normalizes the channels of each pixel: (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, x):
        if x.ndim == 4 and operators.serves(x):
            return operators.channel_norm(x, self.weight, self.bias, self._epsilon)
        return super().forward(x.transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2])


def of_length_one(x, axis=-1):
    """Divide by the Euclidean length along `axis`, or by 1e-12 if that is larger: any shape -> the same shape.

    F.normalize does so, too, but takes 15 times as long to train, and Paddle cannot write it into a .pdmodel.
    """
    return x * x.square().sum(axis, keepdim=True).clip(min=1e-24).rsqrt()
