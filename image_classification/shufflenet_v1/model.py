"""ShuffleNet V1, https://arxiv.org/abs/1707.01083. Sub-layers bear the names of Megvii's checkpoints (ShuffleNet-Series).

Where the sources differ, this network is built as follows:

- *Megvii's shuffle is the inverse of the paper's permutation*, which the original tutorial code uses. Of 12 channels in 3
  groups, Megvii takes 0, 3, 6, 9, 1, ..., the paper 0, 4, 8, 1, ... Megvii's is kept, because the weights depend on it.
- *Megvii pools with a 7 x 7 window*, which for images above 224 x 224 sees only a corner or gives several rows per image. Here
  the whole map is averaged. This is the same at 224, and every size works.
- *The first 1x1 convolution of stage 2 has no groups*, because its input is narrow. The tutorial intends this, too, but its
  code never does it.
- *The average pool of the shortcut counts the zeros of the padding*. The ReLU comes before the concatenation; the pooled map is
  never negative. The classifier has no bias.
- *Published weights expect BGR from 0 to 255.* The yaml files scale to 0..255. For RGB images, reverse the three input channels
  of `first_conv.0.weight`.
"""
import paddle
import paddle.nn.functional as F
from paddle import ParamAttr, nn

from image_classification.errors import UserError
from image_classification.layers import Conv2D, DropPath, Network, Stage, by_level, channel_shuffle


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1, std=None):
    """A convolution without bias, initialised normally, by default with a deviation of 1 / (input channels of a group)."""
    init = nn.initializer.Normal(std=std or groups / in_channels)
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, weight_attr=init, bias_attr=False)


def batch_norm(channels):
    return nn.BatchNorm2D(channels, bias_attr=ParamAttr(initializer=nn.initializer.Constant(1e-4)))


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Normal(std=0.01), bias_attr=False)


def megvii_shuffle(x, groups):
    """Gather channels that are `groups` apart: (B, C, H, W) -> same. 6 channels in 3 groups: 0, 3, 1, 4, 2, 5."""
    return channel_shuffle(x, x.shape[1] // groups)


class Unit(nn.Layer):
    """Grouped 1x1, depthwise without activation, shuffle, grouped 1x1: (B, C, H, W) -> (B, C', H / stride, W / stride).

    With stride 1 (C' = C) there is a residual sum. With stride 2, the pooled input and the branch are concatenated; the branch
    has the C' - C further channels.
    """

    def __init__(self, in_channels, out_channels, stride, groups, first_groups, drop_path):
        super().__init__()
        hidden = out_channels // 4
        self.groups, self.stride = groups, stride
        added = out_channels if stride == 1 else out_channels - in_channels
        self.branch_main_1 = nn.Sequential(
            conv2d(in_channels, hidden, 1, groups=first_groups), batch_norm(hidden), nn.ReLU(),
            conv2d(hidden, hidden, 3, stride, groups=hidden), batch_norm(hidden))
        self.branch_main_2 = nn.Sequential(conv2d(hidden, added, 1, groups=groups), batch_norm(added))
        self.branch_proj = nn.AvgPool2D(3, 2, 1, exclusive=False) if stride == 2 else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        out = self.branch_main_1(x)
        if self.groups > 1:
            out = megvii_shuffle(out, self.groups)
        out = self.branch_main_2(out)
        if self.stride == 1:
            return F.relu(x + self.drop_path(out))
        return paddle.concat([self.branch_proj(x), F.relu(out)], axis=1)


class ShuffleNetV1(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        groups: of all 1x1 convolutions but the first. stem: channels of the first convolution.
        repeats, channels: units and output channels of stages 2, 3 and 4, at strides 8, 16 and 32.
        dropout: probability in front of the classifier. drop_path: rate in the last unit; it rises linearly from 0.
    """

    key_style = 'official'
    classifier_layers = ('classifier.0',)  # what a new number of classes replaces

    def __init__(self, num_classes, in_channels, groups, stem, repeats, channels, dropout=0.0, drop_path=0.0):
        super().__init__()
        self.first_conv = nn.Sequential(conv2d(in_channels, stem, 3, 2, std=0.01), batch_norm(stem), nn.ReLU())
        self.maxpool = nn.MaxPool2D(3, 2, 1)
        units, width, last = [], stem, max(1, sum(repeats) - 1)
        for count, out in zip(repeats, channels):
            for i in range(count):
                first_groups = groups if units else 1
                units.append(Unit(width, out, 1 if i else 2, groups, first_groups, drop_path * len(units) / last))
                width = out
        self.features = Stage(*units)
        self.dropout = nn.Dropout(dropout)
        # A Sequential of one layer, as in the published names: classifier.0.
        self.classifier = nn.Sequential(linear(width, num_classes))
        self.stage_ends = [sum(repeats[:i + 1]) - 1 for i in range(len(repeats))]
        self.feature_channels = [stem, stem, *channels]
        self.feature_strides = [2, 4, 8, 16, 32]
        self.feature_layers = [['first_conv'], [], *by_level(self.stage_ends, [[f'features.{i}'] for i in range(len(units))])]

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        maps = [self.first_conv(x)]
        maps.append(self.maxpool(maps[0]))
        return maps + self.features.outputs(self.stage_ends, maps[1])

    def forward_features(self, x):
        """Last map (B, C, H/32, W/32)."""
        return self.features(self.maxpool(self.first_conv(x)))

    def forward_head(self, features):
        pooled = F.adaptive_avg_pool2d(features, 1).flatten(1)     # (B, C)
        return self.classifier(self.dropout(pooled))

    def replace_classifier(self, num_classes):
        self.classifier = nn.Sequential(linear(self.feature_channels[-1], num_classes))


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, net = cfg.MODEL, cfg.MODEL.SHUFFLENET
    _check(net)
    return ShuffleNetV1(
        num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, groups=net.GROUPS, stem=net.STEM_CHANNELS,
        repeats=net.REPEATS, channels=net.CHANNELS, dropout=model.DROPOUT, drop_path=model.DROPPATH)


def _check(net):
    """Raise UserError unless there are three stages of rising width whose convolutions divide into groups."""
    for key in ('REPEATS', 'CHANNELS'):
        if len(net[key]) != 3:
            raise UserError(f'MODEL.SHUFFLENET.{key} is {net[key]}; wanted three numbers, of stages 2, 3 and 4')
    widths = [net.STEM_CHANNELS, *net.CHANNELS]
    if sorted(set(widths)) != widths:
        raise UserError(f'MODEL.SHUFFLENET.STEM_CHANNELS and CHANNELS are {widths}; wanted rising numbers: each stage adds '
                        'channels')
    odd = [out for before, out in zip(widths, widths[1:]) if out % 4 or out // 4 % net.GROUPS or (out - before) % net.GROUPS]
    if odd:
        raise UserError(f'MODEL.SHUFFLENET.GROUPS is {net.GROUPS}, which does not fit CHANNELS {odd}; a quarter of them, and '
                        f'what they add to {widths[:-1]}, must divide by it')
