"""MobileViT, https://arxiv.org/abs/2110.02178, and MobileViTv2, https://arxiv.org/abs/2206.02680. Sub-layers bear the names of
timm's `mobilevit_*` and `mobilevitv2_*` checkpoints.

Inverted residuals and, in the last three stages, transformers between two convolutions. A map is cut into patches of 2 x 2
pixels, and a pixel attends to the pixels at the same place in all other patches; the convolutions handle neighbours. The
attention of the second version is linear in the pixels: each pixel has one score. The keys, averaged with these as weights,
gate every value.

- *Maps of an odd side* are resized bilinearly to the next even size; the first version resizes back.
- *Stochastic depth* (`DROPPATH`) is an option of timm, not of the authors. Its rate rises linearly from stage to stage.
"""
from math import sqrt

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.attention import attended, attention_weights, split_by_part
from image_classification.layers import (Conv2D, DropPath, LayerNorm, Linear, Stage, StagedNetwork, by_level, levels_of,
                                         make_divisible, resize_bilinear)

PATCH = 2                                                          # pixels on a side
DEPTHS = {'v1': [1, 3, 1, 1, 1], 'v2': [1, 2, 1, 1, 1]}            # inverted residuals of the stages
LAYERS = [2, 4, 3]                                                 # layers of the last three stages' transformers
HEADS, MLP_RATIO = 4, 2


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1, bias=False):
    fan_out = kernel * kernel * out_channels // groups
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups,
                  weight_attr=nn.initializer.Normal(std=sqrt(2.0 / fan_out)),
                  bias_attr=nn.initializer.Constant(0.0) if bias else False)


def linear(in_features, out_features):
    return Linear(in_features, out_features, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                  bias_attr=nn.initializer.Constant(0.0))


def to_even(x, corners):
    """(B, C, H, W) -> (B, C, H', W') with the next even sides. If an export does not know the sides, it always resizes."""
    sides = x.shape[2:]
    if all(isinstance(side, int) and side > 0 and side % PATCH == 0 for side in sides):
        return x
    even = [(side + PATCH - 1) // PATCH * PATCH for side in sides]
    return resize_bilinear(x, even, corners)


def unfold(x):
    """Split a map into places within a patch and patches: (B, C, H, W) -> (B, C, 4, H*W/4). Two steps of 5 dimensions each,
    which all phone engines have."""
    channels, (height, width) = x.shape[1], x.shape[2:]
    rows, columns = height // PATCH, width // PATCH
    x = x.reshape([-1, channels * rows, PATCH, columns, PATCH]).transpose([0, 1, 2, 4, 3])     # (B, C * rows, 2, 2, columns)
    x = x.reshape([-1, channels, rows, PATCH ** 2, columns]).transpose([0, 1, 3, 2, 4])        # (B, C, 4, rows, columns)
    return x.reshape([-1, channels, PATCH ** 2, rows * columns])


def fold(x, height, width):
    """The inverse of `unfold`: (B, C, 4, H*W/4) -> (B, C, H, W)."""
    channels, rows, columns = x.shape[1], height // PATCH, width // PATCH
    x = x.reshape([-1, channels, PATCH ** 2, rows, columns]).transpose([0, 1, 3, 2, 4])        # (B, C, rows, 4, columns)
    x = x.reshape([-1, channels * rows, PATCH, PATCH, columns]).transpose([0, 1, 2, 4, 3])     # (B, C * rows, 2, columns, 2)
    return x.reshape([-1, channels, height, width])


class ConvNormAct(nn.Layer):
    """Convolution, batch norm and, unless `linear`, SiLU: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1, linear=False):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel, stride, groups)
        self.bn = nn.BatchNorm2D(out_channels, momentum=0.9, epsilon=1e-5)
        self.act = nn.Identity() if linear else nn.Silu()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class InvertedResidual(nn.Layer):
    """1x1 up, depthwise, 1x1 down: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, stride, expansion, drop_path):
        super().__init__()
        hidden = make_divisible(in_channels * expansion)
        self.conv1_1x1 = ConvNormAct(in_channels, hidden, 1)
        self.conv2_kxk = ConvNormAct(hidden, hidden, 3, stride, groups=hidden)
        self.conv3_1x1 = ConvNormAct(hidden, out_channels, 1, linear=True)
        self.shortcut = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path if self.shortcut else 0.0)

    def forward(self, x):
        y = self.conv3_1x1(self.conv2_kxk(self.conv1_1x1(x)))
        return x + self.drop_path(y) if self.shortcut else y


class Attention(nn.Layer):
    """Multi-head self-attention: (B, N, C) -> (B, N, C)."""

    def __init__(self, dim):
        super().__init__()
        self.qkv = linear(dim, 3 * dim)
        self.proj = linear(dim, dim)
        self.scale = (dim // HEADS) ** -0.5

    def attend(self, x):
        """(values, attention weights (B, heads, N, N))."""
        query, key, value = split_by_part(self.qkv(x), HEADS)
        return value, attention_weights(query, key, self.scale)

    def forward(self, x):
        value, attn = self.attend(x)
        return self.proj(attended(attn, value))


class Mlp(nn.Layer):
    """Two layers with SiLU between. `make(c_in, c_out)` makes them: linear layers for tokens, 1x1 convolutions for maps."""

    def __init__(self, dim, make):
        super().__init__()
        self.fc1 = make(dim, MLP_RATIO * dim)
        self.fc2 = make(MLP_RATIO * dim, dim)

    def forward(self, x):
        return self.fc2(F.silu(self.fc1(x)))


def pointwise(in_channels, out_channels):
    return conv2d(in_channels, out_channels, 1, bias=True)


class TransformerBlock(nn.Layer):
    """Attention, then an MLP, each with a norm in front and a shortcut. `norm()`, `attention()` and `mlp()` make them."""

    def __init__(self, norm, attention, mlp, drop_path):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = norm(), attention(), norm(), mlp()
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class MobileViTBlock(nn.Layer):
    """Convolutions, a transformer over the patches, and fusion with the input map: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, dim, layers, drop_path):
        super().__init__()

        def norm():
            return LayerNorm(dim, epsilon=1e-5)

        self.conv_kxk = ConvNormAct(channels, channels, 3)
        self.conv_1x1 = conv2d(channels, dim, 1)
        self.transformer = nn.Sequential(*(TransformerBlock(norm, lambda: Attention(dim), lambda: Mlp(dim, linear), drop_path)
                                           for _ in range(layers)))
        self.norm = norm()
        self.conv_proj = ConvNormAct(dim, channels, 1)
        self.conv_fusion = ConvNormAct(2 * channels, channels, 3)

    def forward(self, x):
        y = self.conv_1x1(self.conv_kxk(x))
        even = to_even(y, corners=False)
        dim, (height, width) = even.shape[1], even.shape[2:]
        tokens = unfold(even).transpose([0, 2, 3, 1])              # (B, 4, N, dim)
        patches = tokens.shape[2]
        tokens = self.norm(self.transformer(tokens.reshape([-1, patches, dim])))  # (B * 4, N, dim)
        tokens = tokens.reshape([-1, PATCH ** 2, patches, dim])
        folded = fold(tokens.transpose([0, 3, 1, 2]), height, width)              # (B, dim, H', W')
        if even is not y:
            folded = resize_bilinear(folded, x.shape[2:], corners=False)
        return self.conv_fusion(paddle.concat([x, self.conv_proj(folded)], axis=1))


class SeparableAttention(nn.Layer):
    """Multiplies each value by the mean of all keys, weighted by one score per patch: (B, C, 4, N) -> (B, C, 4, N)."""

    def __init__(self, dim):
        super().__init__()
        self.qkv_proj = pointwise(dim, 1 + 2 * dim)
        self.out_proj = pointwise(dim, dim)

    def forward(self, x):
        dim = x.shape[1]
        query, key, value = self.qkv_proj(x).split([1, dim, dim], axis=1)
        context = (key * F.softmax(query)).sum(axis=-1, keepdim=True)             # (B, C, 4, 1)
        return self.out_proj(F.relu(value) * context)


class MobileViTv2Block(nn.Layer):
    """Depthwise and 1x1 convolution, transformer over the patches, 1x1: (B, C, H, W) -> (B, C, H', W') with even sides."""

    def __init__(self, channels, dim, layers, drop_path):
        super().__init__()

        def norm():
            return nn.GroupNorm(1, dim, epsilon=1e-5)

        self.conv_kxk = ConvNormAct(channels, channels, 3, groups=channels)
        self.conv_1x1 = conv2d(channels, dim, 1)
        self.transformer = nn.Sequential(*(TransformerBlock(norm, lambda: SeparableAttention(dim), lambda: Mlp(dim, pointwise),
                                                            drop_path) for _ in range(layers)))
        self.norm = norm()
        self.conv_proj = ConvNormAct(dim, channels, 1, linear=True)

    def forward(self, x):
        x = self.conv_1x1(self.conv_kxk(to_even(x, corners=True)))
        patches = self.norm(self.transformer(unfold(x)))           # (B, dim, 4, N)
        return self.conv_proj(fold(patches, *x.shape[2:]))


BLOCKS = {'v1': MobileViTBlock, 'v2': MobileViTv2Block}


class Head(nn.Layer):
    """Mean over the map, classifier: (B, C, H, W) -> (B, num_classes)."""

    def __init__(self, channels, num_classes, dropout):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(channels, num_classes)

    def forward(self, x):
        return self.fc(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))


class MobileViT(StagedNetwork):
    """(B, in_channels, H, W), in 0..1 -> logits (B, num_classes); any H and W.

    Args:
        version: v1 or v2.
        stem: channels of the first convolution.
        channels: channels of the five stages.
        dims: channels of the attention in the last three stages.
        expansion: hidden channels / channels of inverted residuals.
        last: channels of the last convolution; 0 for none.
        dropout: probability in front of the classifier.
        drop_path: probability that a sample skips the last residual branch; it rises linearly from 0 in the first stage.
    """

    key_style = 'timm'
    classifier_layers = ('head.fc',)     # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, version='v1', stem=16, channels=(16, 24, 48, 64, 80), dims=(64, 80, 96),
                 expansion=2.0, last=320, dropout=0.1, drop_path=0.0):
        super().__init__()
        self.stem = ConvNormAct(in_channels, stem, 3, 2)
        stages, before, strides, depths = [], stem, [1, 2, 2, 2, 2], DEPTHS[version]
        for i, (width, depth) in enumerate(zip(channels, depths)):
            rate = drop_path * i / (len(depths) - 1)
            blocks = [InvertedResidual(width if j else before, width, 1 if j else strides[i], expansion, rate)
                      for j in range(depth)]
            if i >= 2:
                blocks.append(BLOCKS[version](width, dims[i - 2], LAYERS[i - 2], rate))
            stages.append(Stage(*blocks))
            before = width
        self.stages = nn.Sequential(*stages)
        self.final_conv = ConvNormAct(before, last, 1) if last else nn.Identity()
        self.head = Head(last or before, num_classes, dropout)
        self.levels, self.feature_strides = levels_of([2, *strides[1:]])
        self.feature_channels = [*channels[:-1], last or before]
        self.feature_layers = by_level(self.levels, [[f'stages.{i}'] for i in range(len(stages))])
        self.feature_layers[0] += ['stem']
        self.feature_layers[-1] += ['final_conv'] if last else []

    def forward_intermediates(self, x):
        """List of maps, one per stage, the last one after the last convolution: `feature_channels`, `feature_strides`."""
        maps = super().forward_intermediates(x)
        return [*maps[:-1], self.final_conv(maps[-1])]

    def replace_classifier(self, num_classes):
        self.head.fc = linear(self.head.fc.weight.shape[0], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model, keys = cfg.MODEL, cfg.MODEL.MOBILEVIT
    return MobileViT(model.NUM_CLASSES, model.IN_CHANNELS, keys.VERSION, keys.STEM, keys.CHANNELS, keys.DIMS, keys.EXPANSION,
                     keys.LAST, model.DROPOUT, model.DROPPATH)
