"""MobileNetV2, https://arxiv.org/abs/1801.04381. Sub-layers bear the names of torchvision's checkpoints.

Inverted residuals: narrow maps are joined by shortcuts, wide ones are convolved, and what leaves a block has no activation.
Where the sources differ:

- *The tutorial's copy* (also its package) has biases in all convolutions, a stem of 1x1 with padding, an expansion by one in the
  first block, stride 1 in the sixth stage and a convolution as classifier. None of that here: the network is the published one.
- *PaddleClas's network* has an expansion by one in the first block, too, and does not round its widths to multiples of 8; at
  width 1 the rest is the same. `DESIGN` chooses it, and comes with its weights.
- *Width.* The last convolution stays at 1280 channels below width 1 and widens above it, as in the paper.
- *Stochastic depth* (`DROPPATH`) is not in the paper. It grows linearly from 0 in the first block to the given rate.
"""
from math import sqrt

from paddle import nn

from image_classification.layers import Conv2D, DropPath, PlainNetwork, Stage, levels_of, make_divisible

STEM, LAST = 32, 1280                                              # channels at width 1
STAGES = [  # expansion, channels, blocks, stride of the first block: table 2 of the paper
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1):
    """A convolution without bias that keeps the map's size but for its stride."""
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
    """1x1 up, 3x3 depthwise, 1x1 down: (B, C, H, W) -> (B, C', H / stride, W / stride). No layer up unless `expands`."""

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
        width: multiplier of all channels; of the last convolution's only where it is above 1.
        dropout: probability in front of the classifier.
        drop_path: probability that a sample skips the last residual branch; earlier ones are skipped less.
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
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError for a width that is not positive."""
    model = cfg.MODEL
    return MobileNetV2(model.NUM_CLASSES, model.IN_CHANNELS, model.WIDTH, model.DROPOUT, model.DROPPATH,
                       model.DESIGN)
