"""ShuffleNet V2, https://arxiv.org/abs/1807.11164. Sub-layers bear the names of torchvision's checkpoints.

How this network is built:

- *The stem is that of the paper and torchvision*: stride 2, batch norm, ReLU, max pool. The original tutorial code has stride
  1, no ReLU and no pool.
- *There is no residual sum for drop path to skip*, because a unit replaces half of the channels. The change that its branch
  makes to this half counts as the residual, so a skipped sample keeps all its channels. The rate rises linearly with depth.
  Evaluation is unaffected. Units that halve the map are never skipped.
- *Published weights.* torchvision's expect ImageNet's mean and standard deviation; x1_5 and x2_0 were evaluated at crop 224 of
  232. Megvii's have other names and expect BGR from 0 to 255.
"""
from math import sqrt

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import Conv2D, DropPath, Network, Stage, channel_shuffle, pytorch_uniform


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1):
    """A convolution without bias, initialised uniformly within 1 / sqrt(fan_in): PyTorch's default, as in torchvision."""
    init = nn.initializer.KaimingUniform(negative_slope=sqrt(5), nonlinearity='leaky_relu')
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, weight_attr=init, bias_attr=False)


def linear(in_features, out_features):
    uniform = pytorch_uniform(in_features)
    return nn.Linear(in_features, out_features, weight_attr=uniform, bias_attr=uniform)


class ConvNormReLU(nn.Sequential):
    """(B, C, H, W) -> (B, C', H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride=1):
        super().__init__(conv2d(in_channels, out_channels, kernel, stride), nn.BatchNorm2D(out_channels), nn.ReLU())


class Branch(nn.Sequential):
    """1x1, depthwise without activation, 1x1: (B, C, H, W) -> (B, C', H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__(conv2d(in_channels, out_channels, 1), nn.BatchNorm2D(out_channels), nn.ReLU(),
                         conv2d(out_channels, out_channels, 3, stride, groups=out_channels), nn.BatchNorm2D(out_channels),
                         conv2d(out_channels, out_channels, 1), nn.BatchNorm2D(out_channels), nn.ReLU())


class DownUnit(nn.Layer):
    """A unit that halves the map; both branches see all channels: (B, C, H, W) -> (B, C', H/2, W/2)."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        half = out_channels // 2
        self.branch1 = nn.Sequential(conv2d(in_channels, in_channels, 3, 2, groups=in_channels), nn.BatchNorm2D(in_channels),
                                     conv2d(in_channels, half, 1), nn.BatchNorm2D(half), nn.ReLU())
        self.branch2 = Branch(in_channels, half, 2)

    def forward(self, x):
        return channel_shuffle(paddle.concat([self.branch1(x), self.branch2(x)], axis=1), 2)


class Unit(nn.Layer):
    """Half of the channels stay as they are, the others pass the branch; then all are shuffled: (B, C, H, W) -> same."""

    def __init__(self, channels, drop_path):
        super().__init__()
        self.branch2 = Branch(channels // 2, channels // 2, 1)
        self.drop_path, self.drops = DropPath(drop_path), drop_path > 0.0

    def forward(self, x):
        kept, half = x.chunk(2, axis=1)                            # (B, C/2, H, W) each
        changed = self.branch2(half)
        if self.drops and self.training:
            changed = half + self.drop_path(changed - half)
        return channel_shuffle(paddle.concat([kept, changed], axis=1), 2)


class ShuffleNetV2(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        stem: channels of the first convolution.
        repeats, channels: units and output channels of stages 2, 3 and 4, at strides 8, 16 and 32.
        head: channels of the last 1x1 convolution.
        dropout: probability in front of the classifier. drop_path: rate in the last unit; it rises linearly from 0.
    """

    key_style = 'torchvision'
    classifier_layers = ('fc',)  # what a new number of classes replaces

    def __init__(self, num_classes, in_channels, stem, repeats, channels, head, dropout=0.0, drop_path=0.0):
        super().__init__()
        last = max(1, sum(repeats) - 1)
        rates = [drop_path * i / last for i in range(sum(repeats))]
        self.conv1 = ConvNormReLU(in_channels, stem, 3, 2)
        self.maxpool = nn.MaxPool2D(3, 2, 1)
        self.stage2 = self._stage(stem, channels[0], rates[:repeats[0]])
        self.stage3 = self._stage(channels[0], channels[1], rates[repeats[0]:repeats[0] + repeats[1]])
        self.stage4 = self._stage(channels[1], channels[2], rates[repeats[0] + repeats[1]:])
        self.conv5 = ConvNormReLU(channels[2], head, 1)
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(head, num_classes)
        self.feature_channels = [stem, stem, *channels]
        self.feature_strides = [2, 4, 8, 16, 32]
        self.feature_layers = [['conv1'], [], ['stage2'], ['stage3'], ['stage4']]

    @staticmethod
    def _stage(in_channels, out_channels, rates):
        return Stage(DownUnit(in_channels, out_channels), *[Unit(out_channels, rate) for rate in rates[1:]])

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        maps = [self.conv1(x)]
        for layer in (self.maxpool, self.stage2, self.stage3, self.stage4):
            maps.append(layer(maps[-1]))
        return maps

    def forward_features(self, x):
        """Last map (B, head, H/32, W/32)."""
        return self.conv5(self.forward_intermediates(x)[-1])

    def forward_head(self, features):
        pooled = F.adaptive_avg_pool2d(features, 1).flatten(1)     # (B, head)
        return self.fc(self.dropout(pooled))

    def replace_classifier(self, num_classes):
        self.fc = linear(self.fc.weight.shape[0], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, net = cfg.MODEL, cfg.MODEL.SHUFFLENET
    for key in ('REPEATS', 'CHANNELS'):
        if len(net[key]) != 3:
            raise UserError(f'MODEL.SHUFFLENET.{key} is {net[key]}; wanted three numbers, of stages 2, 3 and 4')
    if any(channels % 2 for channels in net.CHANNELS):
        raise UserError(f'MODEL.SHUFFLENET.CHANNELS is {net.CHANNELS}; wanted even numbers: a unit halves its channels')
    return ShuffleNetV2(
        num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, stem=net.STEM_CHANNELS, repeats=net.REPEATS,
        channels=net.CHANNELS, head=net.HEAD_CHANNELS, dropout=model.DROPOUT, drop_path=model.DROPPATH)
