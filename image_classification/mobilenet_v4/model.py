"""MobileNetV4, https://arxiv.org/abs/2404.10518. Sub-layers bear the names of timm's `mobilenetv4_*` checkpoints.

Inverted bottlenecks whose depthwise convolutions were placed by a search, for phones of all kinds. The hybrid networks also
have attention, with one set of keys and values for all heads. Where the sources differ:

- *Layer scale* exists only in the hybrid networks, in each bottleneck and each attention.
- *Keys and values of the attention* come from a map of half the size at stride 16. Queries keep the full size: the paper's
  tables never halve them.
- *Width.* timm's narrow small networks keep the full size of the stem and of the head's hidden layer. All other widths are
  rounded to a multiple of 8.
- *Batch norms* have PyTorch's epsilon and momentum, as in timm's training.
"""
from math import sqrt

import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import (GELU, Conv2D, DropPath, Network, Stage, batch_norm, by_level, levels_of, make_divisible,
                                         pytorch_uniform)
from image_classification.mobilenet_v4.architectures import ARCHITECTURES

HIDDEN = 1280                                                      # units of the head at every width
ACTIVATIONS = {'relu': nn.ReLU, 'gelu': GELU, 'none': nn.Identity}
SCALE = 1e-5                                                       # initial value of layer scales


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1, init=None):
    """A convolution without bias: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
    fan_out = kernel * kernel * out_channels // groups
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias_attr=False,
                  weight_attr=init or nn.initializer.Normal(std=sqrt(2.0 / fan_out)))


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=pytorch_uniform(in_features),
                     bias_attr=nn.initializer.Constant(0.0))


class ConvNormAct(nn.Layer):
    """Convolution, batch norm, activation: (B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, in_channels, out_channels, kernel, stride=1, act='relu', groups=1):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel, stride, groups)
        self.bn = batch_norm(out_channels)
        self.act = ACTIVATIONS[act]()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class PlainBlock(nn.Layer):
    """ConvNormAct as a block of a stage, with the checkpoints' name `bn1` for the batch norm."""

    def __init__(self, in_channels, out_channels, kernel, stride, act):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel, stride)
        self.bn1 = batch_norm(out_channels)
        self.act = ACTIVATIONS[act]()

    def forward(self, x):
        return self.act(self.bn1(self.conv(x)))


class FusedBottleneck(nn.Layer):
    """3x3 up, 1x1 down: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, expansion, stride, act):
        super().__init__()
        hidden = make_divisible(in_channels * expansion)
        self.conv_exp = conv2d(in_channels, hidden, 3, stride)
        self.bn1 = batch_norm(hidden)
        self.act = ACTIVATIONS[act]()
        self.conv_pwl = conv2d(hidden, out_channels, 1)
        self.bn2 = batch_norm(out_channels)

    def forward(self, x):
        return self.bn2(self.conv_pwl(self.act(self.bn1(self.conv_exp(x)))))


class LayerScale(nn.Layer):
    """Multiplies each channel by a learnt factor: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = self.create_parameter([channels], default_initializer=nn.initializer.Constant(SCALE))

    def forward(self, x):
        return x * self.gamma.reshape([-1, 1, 1])


class UniversalBottleneck(nn.Layer):
    """Optional depthwise, 1x1 up, optional depthwise, 1x1 down: (B, C, H, W) -> (B, out_channels, H / stride, W / stride).

    The second depthwise convolution has the stride or, if there is none, the first.
    """

    def __init__(self, in_channels, out_channels, kernels, expansion, stride, act, scaled, drop_path):
        super().__init__()
        first, second = kernels
        hidden = make_divisible(in_channels * expansion)
        self.dw_start = ConvNormAct(in_channels, in_channels, first, 1 if second else stride, 'none',
                                    in_channels) if first else nn.Identity()
        self.pw_exp = ConvNormAct(in_channels, hidden, 1, act=act)
        self.dw_mid = ConvNormAct(hidden, hidden, second, stride, act, hidden) if second else nn.Identity()
        self.pw_proj = ConvNormAct(hidden, out_channels, 1, act='none')
        self.layer_scale = LayerScale(out_channels) if scaled else nn.Identity()
        self.shortcut = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path if self.shortcut else 0.0)

    def forward(self, x):
        y = self.pw_proj(self.dw_mid(self.pw_exp(self.dw_start(x))))
        y = self.layer_scale(y)
        return x + self.drop_path(y) if self.shortcut else y


def projection(in_channels, out_channels, stride=1):
    """1x1 convolution: (B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)). With a stride, a depthwise
    convolution and a batch norm come first."""
    xavier, layers = nn.initializer.XavierUniform(), []
    if stride > 1:
        layers = [('down_conv', conv2d(in_channels, in_channels, 3, stride, in_channels, xavier)),
                  ('norm', batch_norm(in_channels))]
    return nn.Sequential(*layers, ('proj', conv2d(in_channels, out_channels, 1, init=xavier)))


class MultiQueryAttention(nn.Layer):
    """Attention among the pixels of a map, whose heads share keys and values: (B, C, H, W) -> (B, C, H, W).

    `stride`: reduces the map that keys and values come from.
    """

    def __init__(self, channels, heads, dim, stride):
        super().__init__()
        self.heads, self.dim = heads, dim
        self.query = projection(channels, heads * dim)
        self.key = projection(channels, dim, stride)
        self.value = projection(channels, dim, stride)
        self.output = projection(heads * dim, channels)

    def queries(self, x):
        """The scaled queries of all heads: (B, heads * d, H, W)."""
        return self.query(x) * self.dim ** -0.5

    def attend(self, x):
        """Attention weights: (B, heads * H*W, M) for the M pixels of the map of keys. The first H*W rows belong to the first
        head."""
        query = self.queries(x).reshape([0, self.heads, self.dim, -1]).transpose([0, 1, 3, 2])    # (B, heads, H*W, d)
        return F.softmax(query.reshape([0, -1, self.dim]) @ self.key(x).flatten(2))

    def forward(self, x):
        H, W = x.shape[2:]
        value = self.value(x).flatten(2).transpose([0, 2, 1])      # (B, M, d)
        read = (self.attend(x) @ value).reshape([0, self.heads, -1, self.dim])    # (B, heads, H*W, d)
        return self.output(read.transpose([0, 1, 3, 2]).reshape([0, self.heads * self.dim, H, W]))


class MobileAttention(nn.Layer):
    """Residual block of batch norm, attention and layer scale: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, heads, dim, stride, drop_path):
        super().__init__()
        self.norm = batch_norm(channels)
        self.attn = MultiQueryAttention(channels, heads, dim, stride)
        self.layer_scale = LayerScale(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        return x + self.drop_path(self.layer_scale(self.attn(self.norm(x))))


def block(spec, in_channels, width, stride, act, scaled, drop_path):
    """(block, channels) for an entry of `architectures.py`."""
    kind, *values, channels = spec
    channels = make_divisible(channels * width)
    if kind == 'conv':
        return PlainBlock(in_channels, channels, *values, stride, act), channels
    if kind == 'fused':
        return FusedBottleneck(in_channels, channels, *values, stride, act), channels
    if kind == 'attention':
        return MobileAttention(channels, *values, drop_path), channels
    first, second, expansion = values
    return UniversalBottleneck(in_channels, channels, (first, second), expansion, stride, act, scaled, drop_path), channels


class MobileNetV4(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        arch: conv_small, conv_medium, conv_large, hybrid_medium or hybrid_large.
        width: multiplier of the stages' channels; the stem never gets narrower.
        dropout: probability in front of the classifier.
        drop_path: probability that a sample skips the last residual branch; it rises linearly from 0 in the first block.
    """

    key_style = 'timm'
    classifier_layers = ('classifier',)  # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, arch='conv_small', width=1.0, dropout=0.2, drop_path=0.0):
        super().__init__()
        stem, table, act = ARCHITECTURES[arch]
        stem = make_divisible(stem * max(width, 1.0))
        self.conv_stem = conv2d(in_channels, stem, 3, 2)
        self.bn1 = batch_norm(stem)
        self.act = ACTIVATIONS[act]()
        strides = [2] * (len(table) - 1) + [1]
        stages, before, widths, number, count = [], stem, [stem], 0, sum(map(len, table))
        for specs, stride in zip(table, strides):
            layers = []
            for i, spec in enumerate(specs):
                rate = drop_path * number / (count - 1)
                layer, before = block(spec, before, width, stride if i == 0 else 1, act, arch.startswith('hybrid'), rate)
                layers.append(layer)
                number += 1
            stages.append(Stage(*layers))
            widths.append(before)
        self.blocks = nn.Sequential(*stages)
        self.conv_head = conv2d(before, HIDDEN, 1)
        self.norm_head = batch_norm(HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.classifier = linear(HIDDEN, num_classes)
        self.levels, self.feature_strides = levels_of([2, *strides])   # the stem, and the last stage at each stride
        self.feature_channels = [widths[i] for i in self.levels]
        self.feature_layers = by_level(self.levels, [['conv_stem', 'bn1'], *([f'blocks.{i}'] for i in range(len(stages)))])

    def forward_intermediates(self, x):
        """List of maps, one from the last stage at each stride: `feature_channels`, `feature_strides`."""
        x = self.act(self.bn1(self.conv_stem(x)))
        maps = [x]
        for stage in self.blocks:
            x = stage(x)
            maps.append(x)
        return [maps[i] for i in self.levels]

    def forward_features(self, x):
        """Last map (B, 960 * width, H/32, W/32)."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        pooled = F.adaptive_avg_pool2d(features, 1)                # (B, 960, 1, 1)
        hidden = self.act(self.norm_head(self.conv_head(pooled))).flatten(1)      # (B, 1280)
        return self.classifier(self.dropout(hidden))

    def replace_classifier(self, num_classes):
        self.classifier = linear(HIDDEN, num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return MobileNetV4(model.NUM_CLASSES, model.IN_CHANNELS, model.ARCH, model.WIDTH, model.DROPOUT, model.DROPPATH)
