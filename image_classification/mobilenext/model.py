"""MobileNeXt, https://arxiv.org/abs/2007.02269. Sub-layers bear the names of the authors' checkpoints (zhoudaquan's
rethinking_bottleneck_design).

The sandglass block reverses the inverted residual: shortcuts and depthwise convolutions are on the wide maps, and the narrow
map lies between them. Where the sources differ, this network is built as follows:

- *There are three blocks of 960 channels*, as in the authors' code. The paper's table and the original tutorial code have two.
- *The first block of a stage lacks depthwise convolutions*: the first of them with stride 2, both with stride 1. Stages of a
  single block with stride 1 (144 and 1280 channels) keep both, and so does the first stage. The tutorial agrees.
- *Identity multiplier.* The authors' block adds its input to the first C / `identity_div` channels, by default to all. Their
  released 1.0 checkpoint of 74.09 % has half-identity shortcuts: it needs `IDENTITY_DIV: 2`, and scores 69.2 % without.
- *Width.* The last block has 1280 channels below width 1 and widens above it. The kind of a block follows from its place in the
  stage. The authors decide by whether its widths differ, which is the same at every published width.
- *Stochastic depth* (`DROPPATH`) is not in the paper. Its rate rises linearly from 0 in the first block.
"""
from math import ceil, sqrt

import paddle
from paddle import nn

from image_classification.layers import Conv2D, DropPath, PlainNetwork, Stage, levels_of, make_divisible

STEM, LAST = 32, 1280                                              # channels at width 1
STAGES = [  # reduction, channels, blocks, stride of the first block: the paper's table
    (2, 96, 1, 2), (6, 144, 1, 1), (6, 192, 3, 2), (6, 288, 3, 2), (6, 384, 4, 1), (6, 576, 4, 2), (6, 960, 3, 1),
    (6, LAST, 1, 1)]


def bottleneck_width(in_channels, out_channels, reduction):
    """Channels of a block's narrow map: its input channels / `reduction`, but at least a sixth of its output channels."""
    width = in_channels // reduction
    return width if width >= out_channels / 6 else make_divisible(ceil(out_channels / 6), 16)


def conv_norm(in_channels, out_channels, kernel, stride=1, groups=1):
    """[convolution without bias, batch norm], He-initialised by the outputs."""
    init = nn.initializer.Normal(std=sqrt(2.0 / (kernel * kernel * out_channels)))
    return [Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, weight_attr=init, bias_attr=False),
            nn.BatchNorm2D(out_channels)]


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Normal(std=0.01),
                     bias_attr=nn.initializer.Constant(0.0))


class SGBlock(nn.Layer):
    """Sandglass: 3x3 depthwise, 1x1 down (linear), 1x1 up, 3x3 depthwise (linear):
    (B, C, H, W) -> (B, out_channels, H / stride, W / stride).

    Args:
        first, last: whether the block has the first and the last depthwise convolution, which takes the stride.
        shortcut: number of channels, counted from the first, that the input is added to; 0 means no shortcut.
    """

    def __init__(self, in_channels, out_channels, stride, reduction, first, last, shortcut, drop_path):
        super().__init__()
        hidden = bottleneck_width(in_channels, out_channels, reduction)
        before = [*conv_norm(in_channels, in_channels, 3, groups=in_channels), nn.ReLU6()] if first else []
        after = conv_norm(out_channels, out_channels, 3, stride, groups=out_channels) if last else []
        self.conv = nn.Sequential(*before, *conv_norm(in_channels, hidden, 1),
                                  *conv_norm(hidden, out_channels, 1), nn.ReLU6(), *after)
        self.shortcut = shortcut
        self.drop_path = DropPath(drop_path if shortcut else 0.0)

    def forward(self, x):
        y = self.conv(x)
        if self.shortcut == 0:
            return y
        y = self.drop_path(y)
        if self.shortcut == x.shape[1]:
            return x + y
        joined = x[:, :self.shortcut] + y[:, :self.shortcut]       # (B, shortcut, H, W)
        return paddle.concat([joined, y[:, self.shortcut:]], axis=1)


def rows_of(width, identity_div):
    """The arguments of `SGBlock` for each block: (in_channels, out_channels, stride, reduction, first, last, shortcut)."""
    rows, in_channels = [], make_divisible(STEM * width)
    for reduction, channels, depth, stride in STAGES:
        out_channels = make_divisible(channels * (max(1.0, width) if channels == LAST else width))
        complete = reduction == 2 or (stride == 1 and depth == 1)  # both depthwise convolutions in the stage's first block
        rows.append((in_channels, out_channels, stride, reduction, complete, complete or stride == 2, 0))
        rows += [(out_channels, out_channels, 1, reduction, True, True, out_channels // identity_div)] * (depth - 1)
        in_channels = out_channels
    return rows


class MobileNeXt(PlainNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        width: multiplier of all channels; applied to the last block only if above 1.
        identity_div: shortcuts add to the first C // identity_div channels; 1 is the plain residual sum.
        dropout: probability in front of the classifier. drop_path: rate in the last block; it rises linearly from 0.
    """

    key_style = 'official'
    classifier_layers = ('classifier.1',)  # what a new number of classes replaces
    make_linear = staticmethod(linear)

    def __init__(self, num_classes=1000, in_channels=3, width=1.0, identity_div=1, dropout=0.2, drop_path=0.0):
        super().__init__()
        rows = rows_of(width, identity_div)
        stem, last = rows[0][0], rows[-1][1]
        blocks = [SGBlock(*row, drop_path * i / (len(rows) - 1)) for i, row in enumerate(rows)]
        self.features = Stage(nn.Sequential(*conv_norm(in_channels, stem, 3, 2), nn.ReLU6()), *blocks)
        self.classifier = nn.Sequential(nn.Dropout(dropout), linear(last, num_classes))
        widths = [stem, *(row[1] for row in rows)]
        self.levels, self.feature_strides = levels_of([2, *(row[2] for row in rows)])  # the last layer at each stride
        self.feature_channels = [widths[i] for i in self.levels]


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return MobileNeXt(model.NUM_CLASSES, model.IN_CHANNELS, model.WIDTH, model.IDENTITY_DIV, model.DROPOUT, model.DROPPATH)
