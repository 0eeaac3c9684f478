"""PP-LCNet, https://arxiv.org/abs/2109.15099. Sub-layers bear the names of timm's `lcnet_*` checkpoints.

MobileNetV1 with additions that cost a CPU almost nothing: hard-swish, gates in the last two blocks only, 5x5 kernels in the
deeper half, and a hidden layer of 1280 units behind the global average pool. There are no shortcuts. Where the sources differ:

- *The hidden layer* has a bias in timm's network but none in PaddleClas's, the original. `DESIGN` selects the form; loading
  weights sets it. This is the only difference.
- *Dropout.* PaddleClas multiplies the features by 0.8 in evaluation, instead of by 1 / 0.8 in training. The key style
  `paddleclas` multiplies the classifier by this factor.
"""
from math import sqrt

import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import (Conv2D, Network, Stage, batch_norm, by_level, hard_gate, hardswish, levels_of,
                                         make_divisible, pytorch_uniform)

STEM, HIDDEN = 16, 1280                                            # channels at width 1, units at every width
STAGES = [  # [(kernel, channels, gate)], stride of the first block
    ([(3, 32, False)], 1),
    ([(3, 64, False)] * 2, 2),
    ([(3, 128, False)] * 2, 2),
    ([(3, 256, False), (5, 256, False)], 2),
    ([(5, 256, False)] * 4, 1),
    ([(5, 512, True)] * 2, 2)]


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1, bias=False):
    fan_out = kernel * kernel * out_channels // groups
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups,
                  weight_attr=nn.initializer.Normal(std=sqrt(2.0 / fan_out)),
                  bias_attr=nn.initializer.Constant(0.0) if bias else False)


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=pytorch_uniform(in_features),
                     bias_attr=nn.initializer.Constant(0.0))


class SqueezeExcitation(nn.Layer):
    """Multiplies each channel by a gate in 0..1 computed from the means of all channels: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.conv_reduce = conv2d(channels, channels // 4, 1, bias=True)
        self.conv_expand = conv2d(channels // 4, channels, 1, bias=True)

    def forward(self, x):
        return hard_gate(x, self.conv_reduce, self.conv_expand)


class DepthwiseSeparable(nn.Layer):
    """Depthwise convolution, optional gates, 1x1 convolution: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride, gated):
        super().__init__()
        self.conv_dw = conv2d(in_channels, in_channels, kernel, stride, groups=in_channels)
        self.bn1 = batch_norm(in_channels)
        self.se = SqueezeExcitation(in_channels) if gated else nn.Identity()
        self.conv_pw = conv2d(in_channels, out_channels, 1)
        self.bn2 = batch_norm(out_channels)

    def forward(self, x):
        x = self.se(hardswish(self.bn1(self.conv_dw(x))))
        return hardswish(self.bn2(self.conv_pw(x)))


class LCNet(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        width: multiplier of all channels except those of the hidden layer.
        design: timm or paddleclas, whose hidden layer has no bias.
        dropout: probability in front of the classifier.
    """

    key_style = 'timm'
    classifier_layers = ('classifier',)  # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, width=1.0, design='timm', dropout=0.2):
        super().__init__()
        before = make_divisible(STEM * width)
        self.conv_stem = conv2d(in_channels, before, 3, 2)
        self.bn1 = batch_norm(before)
        stages, widths, strides = [], [], [stride for _, stride in STAGES]
        for blocks, stride in STAGES:
            layers = []
            for i, (kernel, channels, gated) in enumerate(blocks):
                after = make_divisible(channels * width)
                layers.append(DepthwiseSeparable(before, after, kernel, stride if i == 0 else 1, gated))
                before = after
            stages.append(Stage(*layers))
            widths.append(before)
        self.blocks = nn.Sequential(*stages)
        self.conv_head = conv2d(before, HIDDEN, 1, bias=design == 'timm')
        self.dropout = nn.Dropout(dropout)
        self.classifier = linear(HIDDEN, num_classes)
        self.levels, self.feature_strides = levels_of([2 * strides[0], *strides[1:]])      # the last stage at each stride
        self.feature_channels = [widths[i] for i in self.levels]
        self.feature_layers = by_level(self.levels, [[f'blocks.{i}'] for i in range(len(stages))])
        self.feature_layers[0] += ['conv_stem', 'bn1']

    def forward_intermediates(self, x):
        """List of maps, one from the last stage at each stride: `feature_channels`, `feature_strides`."""
        x, maps = hardswish(self.bn1(self.conv_stem(x))), []
        for stage in self.blocks:
            x = stage(x)
            maps.append(x)
        return [maps[i] for i in self.levels]

    def forward_features(self, x):
        """Last map (B, 512 * width, H/32, W/32)."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        pooled = F.adaptive_avg_pool2d(features, 1)                # (B, 512, 1, 1)
        hidden = hardswish(self.conv_head(pooled)).flatten(1)      # (B, 1280)
        return self.classifier(self.dropout(hidden))

    def replace_classifier(self, num_classes):
        self.classifier = linear(HIDDEN, num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return LCNet(model.NUM_CLASSES, model.IN_CHANNELS, model.WIDTH, model.DESIGN, model.DROPOUT)
