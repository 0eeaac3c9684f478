"""Faster equivalents of SwiftFormer's layers for inference engines, see `image_classification/fuse.py`."""
from image_classification.layers.distilled import average_heads, fold_scale
from image_classification.swiftformer.model import ConvEncoder, EfficientAdditiveAttention, SwiftFormer, SwiftFormerEncoder

_LEAST = 1e-24                                                     # of a squared length


class ScaledConvEncoder(ConvEncoder):
    """The layer scale is folded into the last convolution."""

    def scaled(self, y):
        return y


class ScaledEncoder(SwiftFormerEncoder):
    """The layer scales are folded into the last layers of attention and MLP."""

    def scaled(self, y, number):
        return y


class PlainAttention(EfficientAdditiveAttention):
    """Lengths in plain operators: F.normalize takes more of them, and Paddle cannot write it in the older format. The scale of
    the weights is left out, because they are divided by their length."""

    def forward(self, x):
        query, key = of_length_one(self.to_query(x), 2), of_length_one(self.to_key(x), 2)
        weights = of_length_one(query @ self.w_g, 1)               # (B, N, 1)
        summed = (weights * query).sum(1, keepdim=True)            # (B, 1, C)
        return self.final(self.Proj(summed * key) + query)


def of_length_one(x, axis):
    return x / (x * x).sum(axis, keepdim=True).clip(min=_LEAST).sqrt()


def plain(attention):
    attention.__class__ = PlainAttention


def fold_convolutions(encoder):
    fold_scale(encoder.pwconv2, encoder.layer_scale)
    encoder.layer_scale, encoder.__class__ = None, ScaledConvEncoder


def fold_encoder(encoder):
    fold_scale(encoder.attn.final, encoder.layer_scale_1)
    fold_scale(encoder.linear.fc2, encoder.layer_scale_2)
    encoder.layer_scale_1 = encoder.layer_scale_2 = None
    encoder.__class__ = ScaledEncoder


FORMS = {EfficientAdditiveAttention: plain, ConvEncoder: fold_convolutions, SwiftFormerEncoder: fold_encoder,
         SwiftFormer: average_heads}
