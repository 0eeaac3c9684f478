"""Faster equivalents of LeViT's layers for inference engines, see `image_classification/fuse.py`.

The maps are tokens (B, N, C), as in the originals. Height and width of a map, and the indices of its attention biases, are
computed once per stage and shared by its layers, because each size that an exported graph computes costs several steps.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.attention import attended, attention_weights, split_by_head
from image_classification.layers import fold_behind, fold_in_front
from image_classification.layers.distilled import one_classifier
from image_classification.layers.position_bias import distances, gather, looked_up
from image_classification.levit.model import Attention, AttentionSubsample, LeViT, LinearNorm


class FoldedLinear(LinearNorm):
    """The batch norm is folded into the linear layer: (B, N, C) -> (B, N, out_channels)."""

    def forward(self, x):
        return self.c(x)


def fold_linear(layer):
    fold_behind(layer.c, layer.bn)
    layer.bn, layer.__class__ = nn.Identity(), FoldedLinear


class MapSize:
    """Height and width of a map and, once a layer has asked for them, the indices of its attention biases."""

    def __init__(self, height, width):
        self.height, self.width, self.indices = height, width, None


class TokenAttention(Attention):
    """(B, N, C) -> (B, N, C). The scale is folded into the queries. Biases of the layer's own size are looked up beforehand."""

    def forward(self, x):
        query, key, value = split_by_head(self.qkv(x), self.heads, self.parts)
        return self.proj(attended(attention_weights(query, key, 1.0, self.biases_of(self.sizes[-1])), value))

    def biases_of(self, size):
        """(heads, N', N)."""
        if self.is_own(size.height, size.width):
            return self.gathered
        if size.indices is None:
            size.indices = distances(self.side, size.height, size.width, self.stride)
        return looked_up(self.rows, size.indices)


class TokenSubsample(AttentionSubsample):
    """(B, N, C) -> (B, N', C')."""

    biases_of = TokenAttention.biases_of

    def forward(self, x):
        before = MapSize(self.sizes[-1].height, self.sizes[-1].width)      # the indices of a stride of 2 are no other layer's
        pixels, size = self.every_second(x, before)
        self.sizes.append(size)
        key, value = split_by_head(self.kv(x), self.heads, self.parts)
        query, = split_by_head(self.q[1](pixels), self.heads, self.parts[:1])
        return self.proj(attended(attention_weights(query, key, 1.0, self.biases_of(before)), value))

    def every_second(self, x, size):
        """Every second pixel in both directions, (B, N', C), and the size of their map."""
        pixels = x.reshape([-1, size.height, size.width, x.shape[2]])[:, ::2, ::2]
        return pixels.flatten(1, 2), MapSize(*pixels.shape[1:3])


class PooledSubsample(TokenSubsample):
    """Takes every second pixel by pooling, because ncnn has no slice with steps. For maps of a fixed size."""

    def every_second(self, x, size):
        pixels = F.max_pool2d(x.transpose([0, 2, 1]).reshape([0, x.shape[2], size.height, size.width]), 1, 2)
        return pixels.flatten(2).transpose([0, 2, 1]), MapSize(*pixels.shape[2:])


def to_tokens(layer, form, queries, parts):
    """Change the class of an attention to `form`, and fold its scale into the linear layer `queries`, whose outputs are those
    of all heads, `parts` numbers per head with the queries first."""
    gather(layer, form)
    weight, bias = (part.reshape([-1, layer.heads, parts]) for part in (queries.c.weight, queries.c.bias))
    for part in (weight, bias):
        part[:, :, :layer.parts[0]] = part[:, :, :layer.parts[0]] * layer.scale
    queries.c.weight.set_value(weight.flatten(1))
    queries.c.bias.set_value(bias.flatten())


class TokenLeViT(LeViT):
    """Blocks that take tokens, see above."""

    def _stages(self, x):
        self.sizes[:] = [MapSize(*x.shape[2:])]
        tokens = self.blocks.outputs(self.levels, x.flatten(2).transpose([0, 2, 1]))
        return [each.transpose([0, 2, 1]).reshape([0, channels, size.height, size.width])
                for each, channels, size in zip(tokens, self.feature_channels, self.sizes)]

    def forward_features(self, x):
        return self._stages(self.patch_embed(x))[-1]


def use_tokens(network):
    network.sizes = []
    for layer in network.blocks.sublayers():
        if type(layer) is LinearNorm:
            fold_linear(layer)
    for layer in network.blocks.sublayers():
        if type(layer) is Attention:
            to_tokens(layer, TokenAttention, layer.qkv, sum(layer.parts))
        elif type(layer) is AttentionSubsample:
            to_tokens(layer, TokenSubsample, layer.q[1], layer.parts[0])
        if type(layer) in (TokenAttention, TokenSubsample):
            layer.sizes = network.sizes
    network.__class__ = TokenLeViT
    average_heads(network)


def average_heads(network):
    """Fold the batch norms into the classifiers, and replace both by one that gives their mean."""
    if network.distilled and hasattr(network, 'head_dist'):        # missing with features_only
        heads = network.head, network.head_dist
        for head in heads:
            fold_in_front(head.bn, head.l)
        network.head = one_classifier(network, *(head.l for head in heads))
        del network.head_dist


def pool(layer):
    layer.__class__ = PooledSubsample


FORMS, PHONE = {LeViT: use_tokens}, {TokenSubsample: pool}
