"""Faster equivalents of SwiftFormer's layers for inference engines, see `image_classification/fuse.py`."""
from image_classification.layers.distilled import average_heads, fold_scale
from image_classification.swiftformer.model import ConvEncoder, SwiftFormer, SwiftFormerEncoder


class ScaledConvEncoder(ConvEncoder):
    """The layer scale is folded into the last convolution."""

    def scaled(self, y):
        return y


class ScaledEncoder(SwiftFormerEncoder):
    """The layer scales are folded into the last layers of attention and MLP."""

    def scaled(self, y, number):
        return y


def fold_convolutions(encoder):
    fold_scale(encoder.pwconv2, encoder.layer_scale)
    encoder.layer_scale, encoder.__class__ = None, ScaledConvEncoder


def fold_encoder(encoder):
    fold_scale(encoder.attn.final, encoder.layer_scale_1)
    fold_scale(encoder.linear.fc2, encoder.layer_scale_2)
    encoder.layer_scale_1 = encoder.layer_scale_2 = None
    encoder.__class__ = ScaledEncoder


FORMS = {ConvEncoder: fold_convolutions, SwiftFormerEncoder: fold_encoder, SwiftFormer: average_heads}
