"""GhostNet, https://arxiv.org/abs/1911.11907, GhostNetV2, https://arxiv.org/abs/2211.12905, and GhostNetV3,
https://arxiv.org/abs/2404.11202. Sub-layers bear the names of timm's `ghostnet*` checkpoints.

Many channels of a map are "ghosts", close to transformed copies of others. So a ghost module computes half of its channels by a
1x1 convolution, and the other half by a cheap depthwise convolution of the first half.

- *Version 2* multiplies the output of a block's first module by decoupled attention: gates from 1x1, 1x5 and 5x1 convolutions
  of the map at half its size. The first two blocks have none.
- *Version 3* trains each convolution of a module, and each strided depthwise convolution, as a sum of branches, which
  `reparameterize.py` merges.
- *Feature maps* are those of timm's `features_only`: the output of the stem's convolution and, at the other strides, of the
  block that halves the map; the last of these has 160 channels. Everything after it, including the deeper blocks, is the head.
- *PaddleClas's network* of version 1 differs: its gates are clipped instead of hard sigmoids and squeeze to a quarter without
  rounding, and the hidden layer of the head has a batch norm. `DESIGN` selects it; loading its weights sets this.
- *Initial weights* are PyTorch's.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import (ConvAndNorm, Network, Stage, batch_norm, check_size, make_divisible, pytorch_conv2d,
                                         pytorch_uniform, summed)

STEM, LAST = 16, 1280                                              # channels: STEM at width 1, LAST at every width
STAGES = [  # kernel, hidden channels, channels, squeeze-and-excitation, stride of each block: table 1 of the paper
    [(3, 16, 16, False, 1)],
    [(3, 48, 24, False, 2)], [(3, 72, 24, False, 1)],
    [(5, 72, 40, True, 2)], [(5, 120, 40, True, 1)],
    [(3, 240, 80, False, 2)],
    [(3, 200, 80, False, 1), (3, 184, 80, False, 1), (3, 184, 80, False, 1), (3, 480, 112, True, 1), (3, 672, 112, True, 1)],
    [(5, 672, 160, True, 2)],
    [(5, 960, 160, False, 1), (5, 960, 160, True, 1), (5, 960, 160, False, 1), (5, 960, 160, True, 1)]]
HALVING = [i for i, blocks in enumerate(STAGES) if blocks[-1][-1] == 2]
BRANCHES = 3                                                       # parallel convolutions in version 3
PLAIN_BLOCKS = 2                                                   # first blocks, without attention


def linear(in_features, out_features):
    init = pytorch_uniform(in_features)
    return nn.Linear(in_features, out_features, weight_attr=init, bias_attr=init)


def conv_norm(in_channels, out_channels, kernel, stride=1, groups=1):
    """A tuple of a convolution without bias and a batch norm."""
    return pytorch_conv2d(in_channels, out_channels, kernel, stride, groups), batch_norm(out_channels)


class SqueezeExcite(nn.Layer):
    """Multiplies each channel by a gate in 0..1 computed from the means of all channels: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        squeezed = make_divisible(channels / 4, 4)
        self.conv_reduce = pytorch_conv2d(channels, squeezed, 1, bias=True)
        self.conv_expand = pytorch_conv2d(squeezed, channels, 1, bias=True)

    def forward(self, x):
        gate = self.conv_expand(F.relu(self.conv_reduce(F.adaptive_avg_pool2d(x, 1))))   # (B, C, 1, 1)
        return x * (F.relu6(gate + 3.0) / 6.0)                     # Paddle's hardsigmoid stores 1/6 in float32 only


class ClippedExcite(nn.Layer):
    """PaddleClas's squeeze-and-excitation, whose gates are clipped to 0..1: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.conv_reduce = linear(channels, channels // 4)
        self.conv_expand = linear(channels // 4, channels)

    def forward(self, x):
        means = F.adaptive_avg_pool2d(x, 1).flatten(1)             # (B, C)
        return x * self.conv_expand(F.relu(self.conv_reduce(means))).clip(0.0, 1.0).unsqueeze([2, 3])


class DecoupledAttention(nn.Sequential):
    """Gates in 0..1 per pixel and channel, computed along rows and columns: (B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, in_channels, out_channels):
        super().__init__(*conv_norm(in_channels, out_channels, 1),
                         *conv_norm(out_channels, out_channels, (1, 5), groups=out_channels),
                         *conv_norm(out_channels, out_channels, (5, 1), groups=out_channels))

    def forward(self, x):
        gates = F.sigmoid(super().forward(F.avg_pool2d(x, 2, 2)))  # (B, C', H / 2, W / 2)
        return F.interpolate(gates, paddle.shape(x)[2:], mode='nearest')


class GhostModule(nn.Layer):
    """(B, C, H, W) -> (B, out_channels, H, W). `out_channels` must be even."""

    def __init__(self, in_channels, out_channels, relu=True, attends=False):
        super().__init__()
        self.add_halves(in_channels, out_channels // 2, relu)
        self.short_conv = DecoupledAttention(in_channels, out_channels) if attends else None

    def add_halves(self, in_channels, half, relu):
        act = nn.ReLU if relu else nn.Identity
        self.primary_conv = nn.Sequential(*conv_norm(in_channels, half, 1), act())
        self.cheap_operation = nn.Sequential(*conv_norm(half, half, 3, groups=half), act())

    def halves(self, x):
        first = self.primary_conv(x)
        return [first, self.cheap_operation(first)]

    def forward(self, x):
        y = paddle.concat(self.halves(x), axis=1)
        return y if self.short_conv is None else y * self.short_conv(x)


class GhostModuleV3(GhostModule):
    """A ghost module in which each half is a sum of branches."""

    def add_halves(self, in_channels, half, relu):
        self.primary_rpr_conv = nn.LayerList([ConvAndNorm(in_channels, half, 1, norm='bn1') for _ in range(BRANCHES)])
        self.cheap_rpr_skip = batch_norm(half)
        self.cheap_rpr_conv = nn.LayerList([ConvAndNorm(half, half, 3, groups=half, norm='bn1') for _ in range(BRANCHES)])
        self.cheap_rpr_scale = ConvAndNorm(half, half, 1, groups=half, norm='bn1')
        self.act = nn.ReLU() if relu else nn.Identity()

    def halves(self, x):
        first = self.act(summed(x, self.primary_rpr_conv))
        return [first, self.act(summed(first, [self.cheap_rpr_scale, self.cheap_rpr_skip, *self.cheap_rpr_conv]))]


class GhostBottleneck(nn.Layer):
    """Ghost module, strided depthwise convolution, gates, ghost module: (B, C, H, W) -> (B, C', H / stride, W / stride)."""

    ghost_module = GhostModule

    def __init__(self, in_channels, hidden, out_channels, kernel, stride, squeeze, attends):
        super().__init__()
        self.ghost1 = self.ghost_module(in_channels, hidden, attends=attends)
        self.stride = stride
        if stride > 1:
            self.add_depthwise(hidden, kernel)
        self.se = squeeze(hidden) if squeeze else nn.Identity()
        self.ghost2 = self.ghost_module(hidden, out_channels, relu=False)
        self.shortcut = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(*conv_norm(in_channels, in_channels, kernel, stride, in_channels),
                                          *conv_norm(in_channels, out_channels, 1))

    def add_depthwise(self, channels, kernel):
        self.conv_dw, self.bn_dw = conv_norm(channels, channels, kernel, self.stride, channels)

    def depthwise(self, x):
        return self.bn_dw(self.conv_dw(x))

    def forward(self, x):
        y = self.ghost1(x)
        if self.stride > 1:
            y = self.depthwise(y)
        return self.ghost2(self.se(y)) + self.shortcut(x)


class GhostBottleneckV3(GhostBottleneck):
    """A bottleneck of GhostModuleV3 whose strided convolution is a sum of branches, too."""

    ghost_module = GhostModuleV3

    def add_depthwise(self, channels, kernel):
        self.dw_rpr_conv = nn.LayerList([ConvAndNorm(channels, channels, kernel, self.stride, channels, norm='bn1')
                                         for _ in range(BRANCHES)])
        self.dw_rpr_scale = ConvAndNorm(channels, channels, 1, self.stride, channels, norm='bn1')

    def depthwise(self, x):
        return summed(x, [self.dw_rpr_scale, *self.dw_rpr_conv])


class ConvNormAct(nn.Sequential):
    """1x1 convolution, batch norm, ReLU: (B, C, H, W) -> (B, out_channels, H, W)."""

    def __init__(self, in_channels, out_channels):
        conv, norm = conv_norm(in_channels, out_channels, 1)
        super().__init__(('conv', conv), ('bn1', norm), ('act', nn.ReLU()))


class GhostNet(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W, at least 33 with attention.

    Args:
        width: multiplier of the channels, rounded to multiples of 4.
        version: 'v1', 'v2' or 'v3'. design: 'paper' or 'paddleclas'.
        dropout: probability in front of the classifier.
    """

    key_style = 'timm'
    classifier_layers = ('classifier',)  # what a new number of classes replaces
    derived_entries = ('total_ops', 'total_params')  # from a FLOPs counter, in the authors' files of version 3

    def __init__(self, num_classes=1000, in_channels=3, width=1.0, version='v1', design='paper', dropout=0.2):
        super().__init__()
        self.smallest = 1 if version == 'v1' else 33
        block = GhostBottleneckV3 if version == 'v3' else GhostBottleneck
        excite = ClippedExcite if design == 'paddleclas' else SqueezeExcite
        stem = before = make_divisible(STEM * width, 4)
        self.conv_stem, self.bn1 = conv_norm(in_channels, before, 3, 2)
        stages, channels, number = [], [], 0
        for rows in STAGES:
            blocks = []
            for kernel, hidden, after, squeeze, stride in rows:
                hidden, after = make_divisible(hidden * width, 4), make_divisible(after * width, 4)
                blocks.append(block(before, hidden, after, kernel, stride, excite if squeeze else None,
                                    version != 'v1' and number >= PLAIN_BLOCKS))
                before, number = after, number + 1
            stages.append(Stage(*blocks))
            channels.append(before)
        self.blocks = nn.Sequential(*stages, nn.Sequential(ConvNormAct(before, hidden)))
        with_norm = design == 'paddleclas'
        self.conv_head = pytorch_conv2d(hidden, LAST, 1, bias=not with_norm)
        self.bn2 = batch_norm(LAST) if with_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = linear(LAST, num_classes)
        self.feature_channels, self.feature_strides = [stem, *(channels[i] for i in HALVING)], [2, 4, 8, 16, 32]
        self.feature_layers = [['conv_stem'], ['bn1'], [], [], []]
        for i in range(HALVING[-1] + 1):
            self.feature_layers[1 + sum(level < i for level in HALVING)].append(f'blocks.{i}')

    def forward_intermediates(self, x):
        """List of maps: `feature_channels`, `feature_strides`. The first is the stem's convolution without batch norm."""
        check_size(x, self.smallest, 'GhostNet with attention')
        maps = [self.conv_stem(x)]
        x = F.relu(self.bn1(maps[0]))
        for i in range(HALVING[-1] + 1):
            x = self.blocks[i](x)
            if i in HALVING:
                maps.append(x)
        return maps

    def forward_features(self, x):
        """Last map (B, C, H/32, W/32), with six times the channels of the last block."""
        x = self.forward_intermediates(x)[-1]
        for i in range(HALVING[-1] + 1, len(self.blocks)):
            x = self.blocks[i](x)
        return x

    def forward_head(self, features):
        x = F.relu(self.bn2(self.conv_head(F.adaptive_avg_pool2d(features, 1))))         # (B, 1280, 1, 1)
        return self.classifier(self.dropout(x.flatten(1)))

    def replace_classifier(self, num_classes):
        self.classifier = linear(LAST, num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its keys do not go together."""
    model = cfg.MODEL
    if model.DESIGN != 'paper' and model.VERSION != 'v1':
        raise UserError(f'MODEL.DESIGN is {model.DESIGN!r} with VERSION {model.VERSION!r}; wanted VERSION v1, or DESIGN paper')
    return GhostNet(model.NUM_CLASSES, model.IN_CHANNELS, model.WIDTH, model.VERSION, model.DESIGN, model.DROPOUT)
