"""MobileNetV2, https://arxiv.org/abs/1801.04381. Sub-layers bear the names of torchvision's checkpoints.

Inverted residuals: shortcuts connect the narrow maps, depthwise convolutions work on the wide ones, and a block's output has no
activation. Where the sources differ:

- *The original tutorial code* (and its package) has biases in all convolutions, a padded 1x1 stem, an expansion by one in the
  first block, stride 1 in the sixth stage and a convolution as classifier. This network follows the publication instead.
- *PaddleClas's network* also has an expansion by one in the first block, and does not round its widths to multiples of 8. At
  width 1 the rest is the same. `DESIGN` selects it; loading its weights sets this.
- *Width.* The last convolution has 1280 channels below width 1 and widens above it, as in the paper.
- *Stochastic depth* (`DROPPATH`) is not in the paper. Its rate rises linearly from 0 in the first block.
"""
from math import sqrt

from paddle import nn

from image_classification.layers import Conv2D, DropPath, PlainNetwork, Stage, levels_of, make_divisible

STEM, LAST = 32, 1280                                              # channels at width 1
STAGES = [  # expansion, channels, blocks, stride of the first block: table 2 of the paper
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1):
    """A convolution without bias, padded by half its kernel."""
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias_attr=False,
                  weight_attr=nn.initializer.Normal(std=sqrt(2.0 / (kernel * kernel * out_channels))))


def batch_norm(channels):
    return nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-5)


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Normal(std=0.01),
                     bias_attr=nn.initializer.Constant(0.0))


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm, ReLU6: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1):
        super().__init__(conv2d(in_channels, out_channels, kernel, stride, groups), batch_norm(out_channels), nn.ReLU6())


class InvertedResidual(nn.Layer):
    """1x1 up (if `expands`), 3x3 depthwise, 1x1 down: (B, C, H, W) -> (B, C', H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, stride, expansion, expands, drop_path):
        super().__init__()
        hidden = in_channels * expansion
        up = [ConvNormAct(in_channels, hidden, 1)] if expands else []
        self.conv = nn.Sequential(*up, ConvNormAct(hidden, hidden, 3, stride, groups=hidden),
                                  conv2d(hidden, out_channels, 1), batch_norm(out_channels))
        self.shortcut = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path if self.shortcut else 0.0)

    def forward(self, x):
        y = self.conv(x)
        return x + self.drop_path(y) if self.shortcut else y


class MobileNetV2(PlainNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        width: multiplier of all channels; applied to the last convolution only if above 1.
        dropout: probability in front of the classifier.
        drop_path: probability that a sample skips the last residual branch; it rises linearly from 0 in the first block.
        design: paper or paddleclas.
    """

    key_style = 'torchvision'
    classifier_layers = ('classifier.1',)  # what a new number of classes replaces
    make_linear = staticmethod(linear)

    def __init__(self, num_classes=1000, in_channels=3, width=1.0, dropout=0.2, drop_path=0.0, design='paper'):
        super().__init__()
        widened = {'paper': make_divisible, 'paddleclas': int}[design]
        rows = []                                                  # (before, after, stride, expansion, expands) of each block
        stem = before = widened(STEM * width)
        for expansion, channels, depth, stride in STAGES:
            after = widened(channels * width)
            for i in range(depth):
                rows.append((before, after, stride if i == 0 else 1, expansion, expansion != 1 or design == 'paddleclas'))
                before = after
        blocks = [InvertedResidual(*row, drop_path * i / (len(rows) - 1)) for i, row in enumerate(rows)]
        last = widened(LAST * max(1.0, width))
        self.features = Stage(ConvNormAct(in_channels, stem, 3, 2), *blocks, ConvNormAct(before, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), linear(last, num_classes))
        widths = [stem, *(row[1] for row in rows)]
        self.levels, self.feature_strides = levels_of([2, *(row[2] for row in rows)])  # the last block at each stride
        self.feature_channels = [widths[i] for i in self.levels]


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return MobileNetV2(model.NUM_CLASSES, model.IN_CHANNELS, model.WIDTH, model.DROPOUT, model.DROPPATH,
                       model.DESIGN)
