"""MobileNetV3, https://arxiv.org/abs/1905.02244. Sub-layers bear the names of torchvision's checkpoints.

Inverted residuals as in MobileNetV2. Some have squeeze-and-excitation, and the deeper ones use hard-swish. The last convolution
widens the map before the pool; a hidden linear layer follows the pool. Where the sources differ:

- *Width.* Two rules agree at width 1 only. The paper's rule (in TensorFlow's code) multiplies a block's scaled input by the
  block's expansion, and keeps the hidden linear layer at full size below width 1. It gives 3.99 M parameters and 155 M
  multiply-adds for large x0.75, as published. torchvision's `width_mult` multiplies and rounds each number of the table and the
  hidden layer: 3.38 M and 140 M, for which there are no weights. `WIDTH_RULE` selects the rule; the default is the paper's.
- *Squeeze-and-excitation* has two 1x1 convolutions with bias and a hard sigmoid as gate. It squeezes to a quarter, rounded to a
  multiple of 8 (the tutorial does not round). Blocks without it do not create its layers, unlike the tutorial's package.
- *Expansion.* The first block does not expand and so has no expanding convolution; the tutorial's package has one.
- *PaddleClas's network* expands in the first block, too, and squeezes to a quarter without rounding. Its hidden layer has 1280
  units and no bias at every width and size. Its widths, also that of the last convolution, follow torchvision's rule. `DESIGN`
  selects it; loading its weights sets this. Its gates are hard sigmoids of slope 0.2, not 1/6. The key style `paddleclas`
  multiplies the layer in front of them by 1.2, so the results are the same.
- *Batch norm* has an epsilon of 0.001 (PaddleClas: 1e-5) and a momentum of 0.99 (0.01 in PyTorch's terms).
- *Stochastic depth* (`DROPPATH`): the rate rises linearly from 0 in the first block.
"""
from math import sqrt

from paddle import nn

from image_classification.layers import (Conv2D, DropPath, Hardswish, PlainNetwork, Stage, hard_gate, levels_of,
                                         make_divisible, set_epsilon)

STEM = 16                                                          # channels at width 1
LARGE = [  # kernel, hidden channels, channels, squeeze-and-excitation, activation, stride: table 1 of the paper
    (3, 16, 16, False, 'relu', 1),
    (3, 64, 24, False, 'relu', 2), (3, 72, 24, False, 'relu', 1),
    (5, 72, 40, True, 'relu', 2), (5, 120, 40, True, 'relu', 1), (5, 120, 40, True, 'relu', 1),
    (3, 240, 80, False, 'hardswish', 2), (3, 200, 80, False, 'hardswish', 1),
    (3, 184, 80, False, 'hardswish', 1), (3, 184, 80, False, 'hardswish', 1),
    (3, 480, 112, True, 'hardswish', 1), (3, 672, 112, True, 'hardswish', 1),
    (5, 672, 160, True, 'hardswish', 2), (5, 960, 160, True, 'hardswish', 1), (5, 960, 160, True, 'hardswish', 1)]
SMALL = [  # the same columns: table 2
    (3, 16, 16, True, 'relu', 2),
    (3, 72, 24, False, 'relu', 2), (3, 88, 24, False, 'relu', 1),
    (5, 96, 40, True, 'hardswish', 2), (5, 240, 40, True, 'hardswish', 1), (5, 240, 40, True, 'hardswish', 1),
    (5, 120, 48, True, 'hardswish', 1), (5, 144, 48, True, 'hardswish', 1),
    (5, 288, 96, True, 'hardswish', 2), (5, 576, 96, True, 'hardswish', 1), (5, 576, 96, True, 'hardswish', 1)]
ARCHITECTURES = {'large': (LARGE, 1280), 'small': (SMALL, 1024)}   # blocks, units of the hidden linear layer
ACTIVATIONS = {'relu': nn.ReLU, 'hardswish': Hardswish, 'none': nn.Identity}
WIDTH_RULES = ('paper', 'torchvision')


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1, bias=False):
    """A convolution padded by half its kernel."""
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups,
                  weight_attr=nn.initializer.Normal(std=sqrt(2.0 / (kernel * kernel * out_channels))),
                  bias_attr=nn.initializer.Constant(0.0) if bias else False)


def linear(in_features, out_features, bias=True):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Normal(std=0.01),
                     bias_attr=nn.initializer.Constant(0.0) if bias else False)


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm, activation: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, act, stride=1, groups=1):
        super().__init__(conv2d(in_channels, out_channels, kernel, stride, groups),
                         nn.BatchNorm2D(out_channels, momentum=0.99, epsilon=1e-3), ACTIVATIONS[act]())


class SqueezeExcitation(nn.Layer):
    """Multiplies each channel by a gate in 0..1 computed from the means of all channels: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, squeezed=0):
        super().__init__()
        squeezed = squeezed or make_divisible(channels // 4)
        self.fc1 = conv2d(channels, squeezed, 1, bias=True)
        self.fc2 = conv2d(squeezed, channels, 1, bias=True)

    def forward(self, x):
        return hard_gate(x, self.fc1, self.fc2)


class InvertedResidual(nn.Layer):
    """1x1 up (if `expands`), depthwise, squeeze-and-excitation, 1x1 down without activation: (B, C, H, W) -> (B, C',
    H / stride, W / stride).

    `squeezed`: hidden channels of the squeeze-and-excitation; 0 for none.
    """

    def __init__(self, in_channels, hidden, out_channels, kernel, squeezed, act, stride, expands, drop_path):
        super().__init__()
        layers = [ConvNormAct(in_channels, hidden, 1, act)] if expands else []
        layers.append(ConvNormAct(hidden, hidden, kernel, act, stride, groups=hidden))
        if squeezed:
            layers.append(SqueezeExcitation(hidden, squeezed))
        self.block = nn.Sequential(*layers, ConvNormAct(hidden, out_channels, 1, 'none'))
        self.shortcut = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path if self.shortcut else 0.0)

    def forward(self, x):
        y = self.block(x)
        return x + self.drop_path(y) if self.shortcut else y


def scaled(blocks, hidden_units, width, rule):
    """Scale a table and its head to a width: ([(in_channels, hidden, out_channels, kernel, squeezed, act, stride, expands)],
    channels of the last convolution, units of the hidden layer)."""
    rows, table_in, in_channels = [], STEM, make_divisible(STEM * width)
    for kernel, hidden, channels, squeeze, act, stride in blocks:
        out_channels = make_divisible(channels * width)
        wide = make_divisible(hidden * in_channels / table_in if rule == 'paper' else hidden * width)
        squeezed = make_divisible(wide // 4) if squeeze else 0
        rows.append((in_channels, wide, out_channels, kernel, squeezed, act, stride, wide != in_channels))
        table_in, in_channels = channels, out_channels
    return rows, 6 * in_channels, make_divisible(hidden_units * (max(1.0, width) if rule == 'paper' else width))


def scaled_by_paddleclas(blocks, width):
    """Like `scaled`, for PaddleClas's network."""
    rows, in_channels = [], make_divisible(STEM * width)
    for kernel, hidden, channels, squeeze, act, stride in blocks:
        wide, out_channels = make_divisible(hidden * width), make_divisible(channels * width)
        rows.append((in_channels, wide, out_channels, kernel, wide // 4 if squeeze else 0, act, stride, True))
        in_channels = out_channels
    return rows, make_divisible(6 * blocks[-1][2] * width), 1280


class MobileNetV3(PlainNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        arch: large or small.
        width: multiplier of all channels, applied by `width_rule`: paper or torchvision.
        design: paper or paddleclas, which has a width rule of its own.
        dropout: probability in front of the classifier.
        drop_path: probability that a sample skips the last residual branch; it rises linearly from 0 in the first block.
    """

    key_style = 'torchvision'
    classifier_layers = ('classifier.3',)  # what a new number of classes replaces
    make_linear = staticmethod(linear)

    def __init__(self, num_classes=1000, in_channels=3, arch='large', width=1.0, width_rule='paper', dropout=0.2,
                 drop_path=0.0, design='paper'):
        super().__init__()
        table, units = ARCHITECTURES[arch]
        plain = design == 'paper'
        rows, last, units = scaled(table, units, width, width_rule) if plain else scaled_by_paddleclas(table, width)
        stem, c_last = rows[0][0], rows[-1][2]
        blocks = [InvertedResidual(*row, drop_path * i / (len(rows) - 1)) for i, row in enumerate(rows)]
        self.features = Stage(ConvNormAct(in_channels, stem, 3, 'hardswish', stride=2), *blocks,
                                      ConvNormAct(c_last, last, 1, 'hardswish'))
        self.classifier = nn.Sequential(
            linear(last, units, bias=plain), Hardswish(), nn.Dropout(dropout), linear(units, num_classes))
        if not plain:
            set_epsilon(self, 1e-5)
        widths = [stem, *(row[2] for row in rows)]
        self.levels, self.feature_strides = levels_of([2, *(row[6] for row in rows)])  # the last block at each stride
        self.feature_channels = [widths[i] for i in self.levels]


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return MobileNetV3(model.NUM_CLASSES, model.IN_CHANNELS, model.ARCH, model.WIDTH, model.WIDTH_RULE, model.DROPOUT,
                       model.DROPPATH, model.DESIGN)
