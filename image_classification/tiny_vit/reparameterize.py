"""Faster equivalents of TinyViT's layers for inference engines, and forms for phones. See `image_classification/fuse.py`."""
import paddle

from image_classification.layers.position_bias import Gathered, gather
from image_classification.tiny_vit.model import Attention, TinyViTBlock


class GatheredAttention(Gathered, Attention):
    pass


class ConcatenatedZeros(TinyViTBlock):
    """For one image of a fixed size. The zeros beyond the border are concatenated, because Paddle-Lite lacks F.pad."""

    def within_windows(self, x):
        w, (_, height, width, c) = self.window, x.shape
        rows, columns = -(-height // w), -(-width // w)
        below, right = rows * w - height, columns * w - width
        if below:
            x = paddle.concat([x, paddle.zeros([1, below, width, c])], axis=1)
        if right:
            x = paddle.concat([x, paddle.zeros([1, rows * w, right, c])], axis=2)
        x = x.reshape([1, rows, w, columns, w * c]).transpose([0, 1, 3, 2, 4])
        x = self.attn(x.reshape([rows * columns, w * w, c]))
        x = x.reshape([1, rows, columns, w, w * c]).transpose([0, 1, 3, 2, 4]).reshape([1, rows * w, columns * w, c])
        return x[:, :height, :width] if below or right else x


def concatenate(block):
    block.__class__ = ConcatenatedZeros


FORMS = {Attention: lambda layer: gather(layer, GatheredAttention)}
PHONE = {TinyViTBlock: concatenate}
