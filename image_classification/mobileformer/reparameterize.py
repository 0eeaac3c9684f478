"""Faster equivalents of Mobile-Former's layers for inference engines; see `image_classification/fuse.py`."""
import paddle
import paddle.nn.functional as F

from image_classification.cpu.convolution import as_product
from image_classification.cpu.heads import softmax_by_rows
from image_classification.layers import set_parameter, split_heads
from image_classification.mobileformer.model import Attention, DyReLU, Heads, MobileFormer, ToMobile_Bridge

ONEDNN = {MobileFormer: 'convolutions'}
_CHANNELS = 16                                                     # engines process channels in groups of 16


class OneMatrix(Heads):
    """All heads' layers and the scale as one block-diagonal matrix. This is cheaper than splitting the few tokens first."""

    def forward(self, tokens):
        return split_heads(F.linear(tokens, self.weight, self.bias), len(self))


def one_matrix(heads):
    count, width = len(heads), heads[0].weight.shape[1]
    rows = [F.pad(layer.weight * heads.scale, [0, 0, i * width, (count - 1 - i) * width]) for i, layer in enumerate(heads)]
    bias = None if heads[0].bias is None else paddle.concat([layer.bias * heads.scale for layer in heads])
    _hold(heads, paddle.concat(rows), bias)
    heads.__class__ = OneMatrix


def _hold(layer, weight, bias):
    layer.register_buffer('weight', weight, persistable=False)
    layer.register_buffer('bias', bias, persistable=False)


class OneProjection(ToMobile_Bridge):
    """Keys and values from one matrix product."""

    def keys_and_values(self, tokens):
        both = F.linear(self.input_token_norm(tokens), self.weight, self.bias)
        return split_heads(both, 2 * self.heads).chunk(2, axis=1)


def one_projection(bridge):
    parts = [bridge.heads_k_proj, bridge.heads_v_proj]
    for part in parts:
        one_matrix(part)
    bias = None if parts[0].bias is None else paddle.concat([part.bias for part in parts])
    _hold(bridge, paddle.concat([part.weight for part in parts], axis=1), bias)
    bridge.__class__ = OneProjection


class ScaledWeights(Attention):
    """The scale has been multiplied into the weights."""

    def query_key_value(self, tokens):
        return split_heads(self.qkv_proj(tokens), 3 * self.heads).chunk(3, axis=1)


def scale_weights(attention):
    for value in filter(lambda value: value is not None, (attention.qkv_proj.weight, attention.qkv_proj.bias)):
        query, rest = value.split([value.shape[-1] // 3, -1], axis=-1)
        value.set_value(paddle.concat([query * attention.scale, rest], axis=-1))
    attention.scale, attention.__class__ = 1.0, ScaledWeights


class PieceByPiece(DyReLU):
    """The first slopes of all channels come first, then all second ones, and so on. The layer norm includes `coefs` and
    `consts`."""

    def pieces(self, tokens):
        shape = [0, 0, 1, 1] if paddle.in_dynamic_mode() else [-1]
        parts = [part.reshape(shape) for part in self.project(tokens[:, 0]).chunk(2 * self.k, axis=1)]
        return list(zip(parts[:self.k], parts[self.k:]))


def piece_by_piece(relu):
    """Reorder the outputs of `project` for PieceByPiece. A layer norm does not depend on the order of its channels."""
    mlp, norm = relu.project
    k = relu.k
    for layer, name in ((mlp.fc2, 'weight'), (mlp.fc2, 'bias'), (norm, 'weight'), (norm, 'bias')):
        value = getattr(layer, name)                               # (..., C * 2k)
        parts = value.reshape([-1, value.shape[-1] // (2 * k), 2 * k]).transpose([0, 2, 1])
        if layer is norm:
            parts = parts * paddle.to_tensor([relu.coefs[0]] * k + [relu.coefs[1]] * k, value.dtype).unsqueeze(1)
        if layer is norm and name == 'bias':
            parts = parts + paddle.to_tensor(relu.slopes + [relu.offset] * k, value.dtype).unsqueeze(1)
        value.set_value(parts.reshape(value.shape))
    relu.__class__ = PieceByPiece


class WideStem(MobileFormer):
    """The stem's map has extra channels, all zero, which the feature maps leave out."""

    def _trunk(self, x):
        (stem, *maps), tokens = super()._trunk(x)
        return [stem[:, :self.feature_channels[0]] if self.levels[0] == 0 else stem, *maps], tokens


def widen_stem(network):
    """Pad a stem to 16 channels, and ungroup the convolution that reads them: engines are slower with fewer channels (26M at
    batch 8 in ONNX Runtime: 11.3 ms before, 9.8 ms after)."""
    conv, bn, reader = network.stem.conv, network.stem.bn, network.bneck_lite.in_pw.conv
    channels = conv.weight.shape[0]
    more = _CHANNELS - channels
    if more <= 0:
        return
    for layer, names in (conv, ['weight', 'bias']), (bn, ['weight', 'bias', '_mean', '_variance']):
        for name in names:
            value = getattr(layer, name)
            set_parameter(layer, name, F.pad(value, [0, more] + [0, 0] * (value.ndim - 1)))
    parts = reader.weight.chunk(reader._groups)                    # one per group; each reads its own channels
    width = parts[0].shape[1]
    rows = [F.pad(part, [0, 0, i * width, _CHANNELS - (i + 1) * width, 0, 0, 0, 0]) for i, part in enumerate(parts)]
    set_parameter(reader, 'weight', paddle.concat(rows))
    reader._groups = 1
    network.__class__ = WideStem


def products(network):
    """Turn 1x1 convolutions into matrix products, except in the lite bottleneck: its convolutions follow each other directly,
    so oneDNN need not change the layout."""
    for block in network.blocks:
        bneck = block.mobile.bneck
        if bneck.dynamic:
            as_product(bneck.in_pw.conv, bneck.in_pw_bn)
            as_product(bneck.out_pw.conv, bneck.out_pw_bn)
        block.tomobile_bridge.softmax = softmax_by_rows
    conv, bn, _ = network.channel_conv
    as_product(conv.conv, bn)


class ComputedTwice(DyReLU):
    """The published network computes the pieces again for the second use in a block."""

    def pieces(self, tokens):
        super().pieces(tokens)
        return super().pieces(tokens)


def compute_twice(relu):
    relu.__class__ = ComputedTwice


FORMS = {MobileFormer: widen_stem, Heads: one_matrix, ToMobile_Bridge: one_projection, Attention: scale_weights,
         DyReLU: piece_by_piece}
COUNTED = {DyReLU: compute_twice}
