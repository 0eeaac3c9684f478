"""IC-ResNet, https://arxiv.org/abs/2012.13587. Sub-layers bear the names of the yifan123/IC-Conv checkpoints.

A ResNet whose 3x3 convolutions are inception convolutions: each output channel has its own dilation in H and in W. A search
(`search.py`) finds these, and a pattern (`patterns.py`) stores them. Parameters and cost equal those of the plain ResNet. The
search uses the weights of a *supernet*, the same network with one large convolution in place of each 3x3. Details:

- *A branch's padding equals its dilation*, so all branches give maps of the same size. Its stride is that of the convolution.
- *A branch is initialized by its own number of outputs*, as in the original: the fewer channels, the larger its weights. The
  batch norm behind it compensates for this.
- *The pool averages the whole map*, not 7 x 7 pixels. At 224 px this is the same, and any size works.
- *The pattern is an argument.* In the original it is a global, which allows only one model per process.
- *Stochastic depth* (`drop_path`) is an addition, off by default. Its rate rises linearly from block to block.
"""
import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.ic_resnet.patterns import load_pattern
from image_classification.layers import Conv2D, DropPath, Network, Stage

WIDTHS = (64, 128, 256, 512)                                       # of the 3x3 convolutions, stage by stage
EXPANSION = 4                                                      # outputs of a bottleneck / its width


def conv2d(in_channels, out_channels, kernel, stride=1, padding=0, dilation=1):
    """A convolution without bias, He-initialized by its outputs."""
    std = math.sqrt(2.0 / (out_channels * kernel * kernel))
    return Conv2D(in_channels, out_channels, kernel, stride, padding, dilation, bias_attr=False,
                  weight_attr=nn.initializer.Normal(0.0, std))


def batch_norm(channels):
    return nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-5)


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Normal(0.0, 1.0 / in_features),
                     bias_attr=nn.initializer.Constant(0.0))


class ICConv2d(nn.Layer):
    """Parallel 3x3 convolutions: (B, C, H, W) -> (B, sum of channels, ceil(H / stride), ceil(W / stride)).

    `branches` are (dilation in H, dilation in W, output channels), in the order of the outputs.
    """

    def __init__(self, in_channels, branches, stride=1):
        super().__init__()
        self.conv_list = nn.LayerList([conv2d(in_channels, channels, 3, stride, padding=dilation, dilation=dilation)
                                       for *dilation, channels in branches])

    def forward(self, x):
        return paddle.concat([conv(x) for conv in self.conv_list], axis=1)


class Bottleneck(nn.Layer):
    """1x1 down, inception convolution, 1x1 up, shortcut: (B, C, H, W) -> (B, 4 * width, H / stride, W / stride).

    `branches`: as in `ICConv2d`, or a number d for a supernet's plain (2d + 1) x (2d + 1) convolution.
    """

    def __init__(self, in_channels, width, branches, stride=1, drop_path=0.0):
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = conv2d(in_channels, width, 1)
        self.bn1 = batch_norm(width)
        if isinstance(branches, int):
            self.conv2 = conv2d(width, width, 2 * branches + 1, stride, padding=branches)
        else:
            self.conv2 = ICConv2d(width, branches, stride)
        self.bn2 = batch_norm(width)
        self.conv3 = conv2d(width, out_channels, 1)
        self.bn3 = batch_norm(out_channels)
        self.drop_path = DropPath(drop_path)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(conv2d(in_channels, out_channels, 1, stride), batch_norm(out_channels))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return F.relu(self.drop_path(x) + shortcut)


class ICResNet(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        depths: bottlenecks in each of the four stages.
        pattern: the branches [(dilation in H, dilation in W, output channels), ...] of each bottleneck, see `patterns.py`. For
            a supernet to search in, the largest dilation.
        dropout: probability in front of the classifier. drop_path: rate in the last block; it rises linearly from 0.
    """

    def __init__(self, depths, pattern, num_classes=1000, in_channels=3, dropout=0.0, drop_path=0.0):
        super().__init__()
        pattern = _checked(depths, pattern)
        self.conv1 = conv2d(in_channels, 64, 7, 2, 3)
        self.bn1 = batch_norm(64)
        self.maxpool = nn.MaxPool2D(3, 2, 1)
        last, k, channels = sum(depths) - 1, 0, 64                 # k counts the bottlenecks
        for i, (width, depth) in enumerate(zip(WIDTHS, depths)):
            blocks = []
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(Bottleneck(channels, width, pattern[k], stride, drop_path * k / last))
                k, channels = k + 1, EXPANSION * width
            self.add_sublayer(f'layer{i + 1}', Stage(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(channels, num_classes)

    key_style = 'official'
    classifier_layers = ('fc',)  # what a new number of classes replaces
    feature_channels = [64, *(EXPANSION * width for width in WIDTHS)]
    feature_strides = [2, 4, 8, 16, 32]
    feature_layers = [['conv1', 'bn1'], ['layer1'], ['layer2'], ['layer3'], ['layer4']]

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        maps = [F.relu(self.bn1(self.conv1(x)))]                   # (B, 64, H/2, W/2)
        maps.append(self.layer1(self.maxpool(maps[0])))            # (B, 256, H/4, W/4)
        for stage in (self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps

    def forward_features(self, x):
        """Last map, (B, 2048, H/32, W/32)."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.fc(self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1)))

    def replace_classifier(self, num_classes):
        self.fc = linear(self.feature_channels[-1], num_classes)


def _checked(depths, pattern):
    """The pattern as a list with one entry per bottleneck, also for a supernet. Raises UserError unless its convolutions and
    their channels fit the network."""
    if len(depths) != len(WIDTHS) or min(depths) < 1:
        raise UserError(f'MODEL.IC.DEPTHS is {list(depths)}; wanted {len(WIDTHS)} stages of at least one block')
    if isinstance(pattern, int):
        return [pattern] * sum(depths)
    wanted = [width for width, depth in zip(WIDTHS, depths) for _ in range(depth)]
    if len(pattern) != len(wanted):
        raise UserError(f'MODEL.IC.PATTERN has {len(pattern)} convolutions; '
                        f'MODEL.IC.DEPTHS {list(depths)} asks for {len(wanted)}')
    for i, (branches, width) in enumerate(zip(pattern, wanted)):
        found = sum(channels for *_, channels in branches)
        if found != width:
            raise UserError(f'MODEL.IC.PATTERN gives {found} channels to convolution {i}; wanted {width}')
    return pattern


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if pattern and depths do not fit."""
    model, dilation = cfg.MODEL, cfg.MODEL.IC.SUPERNET_DILATION
    return ICResNet(depths=model.IC.DEPTHS, pattern=dilation or load_pattern(model.IC.PATTERN), num_classes=model.NUM_CLASSES,
                    in_channels=model.IN_CHANNELS, dropout=model.DROPOUT, drop_path=model.DROPPATH)
