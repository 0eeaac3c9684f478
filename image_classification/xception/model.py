"""Xception, https://arxiv.org/abs/1610.02357. Sub-layers bear the names of timm's `legacy_xception`, Keras' weights in PyTorch.

Where implementations differ, this network is built as follows:

- *Order inside a block.* As by Chollet: ReLU, then depthwise and pointwise convolution, then batch norm, with nothing between
  the two convolutions. The first block has no leading ReLU, because the stem ends in one.
- *The shortcut uses the block's input before its ReLU.* Ports that begin the residual branch with an in-place ReLU also change
  the shortcut, and with it the output.
- *The two convolutions of the stem have no padding*; all later ones have: 299 px give maps of 149, 147, 74, 37, 19 and 10.
- *Stochastic depth* (`drop_path`) is an addition, off by default. Its rate rises linearly from block to block.
"""
import math

import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import Conv2D, DropPath, Network, check_size, pytorch_uniform

SMALLEST_SIZE = 7                                                  # leaves one pixel after the two unpadded convolutions


def conv2d(in_channels, out_channels, kernel, stride=1, padding=0, groups=1):
    """A convolution without bias, He-initialized by its outputs, regardless of groups."""
    std = math.sqrt(2.0 / (out_channels * kernel * kernel))
    return Conv2D(in_channels, out_channels, kernel, stride, padding, groups=groups, bias_attr=False,
                  weight_attr=nn.initializer.Normal(0.0, std))


def batch_norm(channels):
    return nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-5)


def linear(in_features, out_features):
    uniform = pytorch_uniform(in_features)
    return nn.Linear(in_features, out_features, weight_attr=uniform, bias_attr=uniform)


class SeparableConv2d(nn.Layer):
    """3x3 depthwise, then 1x1: (B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels)
        self.pointwise = conv2d(in_channels, out_channels, 1)

    def forward(self, x):
        return self.pointwise(self.conv1(x))


class Block(nn.Layer):
    """Separable convolutions with a shortcut: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride)).

    `widths` are the channels before, between and after the separable convolutions. The shortcut is a 1x1 convolution if the
    shape changes.
    """

    def __init__(self, widths, stride=1, start_with_relu=True, drop_path=0.0):
        super().__init__()
        layers = []
        for in_channels, out_channels in zip(widths, widths[1:]):
            layers += [nn.ReLU(), SeparableConv2d(in_channels, out_channels), batch_norm(out_channels)]
        if not start_with_relu:
            del layers[0]
        if stride != 1:
            layers.append(nn.MaxPool2D(3, stride, 1))
        self.rep = nn.Sequential(*layers)
        self.skip = None
        if stride != 1 or widths[0] != widths[-1]:
            self.skip = conv2d(widths[0], widths[-1], 1, stride)
            self.skipbn = batch_norm(widths[-1])
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        shortcut = x if self.skip is None else self.skipbn(self.skip(x))
        return self.drop_path(self.rep(x)) + shortcut


class Xception(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W of at least 7.

    Args:
        middle_blocks: blocks of the middle flow; eight in the paper.
        dropout: probability in front of the classifier. drop_path: rate in the last block; it rises linearly from 0.
    """

    def __init__(self, num_classes=1000, in_channels=3, middle_blocks=8, dropout=0.0, drop_path=0.0):
        super().__init__()
        self.conv1 = conv2d(in_channels, 32, 3, 2)
        self.bn1 = batch_norm(32)
        self.conv2 = conv2d(32, 64, 3)
        self.bn2 = batch_norm(64)
        plan = [((64, 128, 128), 2), ((128, 256, 256), 2), ((256, 728, 728), 2),             # entry flow
                *[((728, 728, 728, 728), 1)] * middle_blocks,
                ((728, 728, 1024), 2)]                                                       # exit flow
        self.count = len(plan)                                     # blocks, named block1 to block12
        for i, (widths, stride) in enumerate(plan):
            self.add_sublayer(f'block{i + 1}', Block(widths, stride, i > 0, drop_path * i / (len(plan) - 1)))
        self.conv3 = SeparableConv2d(1024, 1536)
        self.bn3 = batch_norm(1536)
        self.conv4 = SeparableConv2d(1536, 2048)
        self.bn4 = batch_norm(2048)
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(2048, num_classes)
        last = [f'block{self.count}', 'conv3', 'bn3', 'conv4', 'bn4']
        self.feature_layers = [['conv1', 'bn1', 'conv2', 'bn2'], ['block1'], ['block2'],
                               [f'block{i}' for i in range(3, self.count)], last]

    key_style = 'timm'
    classifier_layers = ('fc',)  # what a new number of classes replaces
    feature_channels = [64, 128, 256, 728, 2048]
    feature_strides = [2, 4, 8, 16, 32]

    def _trunk(self, x):
        """The last map at each stride, without the ReLU with which a following block begins."""
        check_size(x, SMALLEST_SIZE, 'Xception')
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))                        # (B, 64, H/2, W/2)
        maps = [x]
        for i in range(1, self.count + 1):
            x = getattr(self, f'block{i}')(x)
            if i in (1, 2, self.count - 1):                        # the next block halves the map
                maps.append(x)
        x = F.relu(self.bn3(self.conv3(x)))                        # (B, 1536, H/32, W/32)
        maps.append(F.relu(self.bn4(self.conv4(x))))
        return maps

    def forward_intermediates(self, x):
        """List of maps after ReLU, the last at each stride: `feature_channels`, `feature_strides`.

        The unpadded stem makes the first map two or three pixels smaller than H/2. Each further map has half the size of the
        one before, rounded up.
        """
        stem, *inner, last = self._trunk(x)
        return [stem, *[F.relu(inner_map) for inner_map in inner], last]

    def forward_features(self, x):
        """Last map, (B, 2048, H/32, W/32)."""
        return self._trunk(x)[-1]

    def forward_head(self, features):
        return self.fc(self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1)))

    def replace_classifier(self, num_classes):
        self.fc = linear(2048, num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return Xception(num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, middle_blocks=model.XCEPTION.MIDDLE_BLOCKS,
                    dropout=model.DROPOUT, drop_path=model.DROPPATH)
