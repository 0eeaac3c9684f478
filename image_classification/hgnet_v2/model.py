"""PP-HGNetV2, https://github.com/PaddlePaddle/PaddleClas (docs/en/models/PP-HGNetV2_en.md); there is no paper. Sub-layers bear
the names of timm's `hgnetv2_*` checkpoints.

Blocks as in VoVNet (https://arxiv.org/abs/1904.09730): the outputs of consecutive layers are concatenated and pass two 1x1
convolutions, the first of which squeezes. In the small networks (larger ones are not included here), a learnt factor and offset
for the whole map follow each ReLU. The last two stages have light layers: 1x1, then 5x5 depthwise.

Before its 2 x 2 kernels, the stem pads one row and one column at the end only, so that maps keep their size. The sources differ
in the pool, which has such a kernel: in timm's network it sees zeros beyond the border, in PaddleClas's, the original, it does
not. This matters where the offset behind a ReLU is negative. `DESIGN` selects the form; loading weights sets it.
"""
from math import sqrt

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import Conv2D, DropPath, Stage, StagedNetwork, by_level, levels_of, pytorch_uniform

HIDDEN = 2048                                                      # units of the head
AT_END = [0, 1, 0, 1]                                              # padding: one row below, one column on the right
LIGHT, KERNELS = (False, False, True, True), (3, 3, 5, 5)          # of the stages' layers


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1):
    """A convolution without bias, padded by half its kernel; 2 x 2 kernels are padded at the end only."""
    fan_out = kernel * kernel * out_channels // groups
    return Conv2D(in_channels, out_channels, kernel, stride, AT_END if kernel == 2 else kernel // 2, groups=groups, bias_attr=False,
                  weight_attr=nn.initializer.Normal(std=sqrt(2.0 / fan_out)))


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=pytorch_uniform(in_features),
                     bias_attr=nn.initializer.Constant(0.0))


class LearnableAffine(nn.Layer):
    """One learnt factor and offset for the whole map: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self):
        super().__init__()
        self.scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))
        self.bias = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x):
        return self.scale * x + self.bias


class ConvNormAct(nn.Layer):
    """Convolution, batch norm and, unless `linear`, ReLU and LearnableAffine: (B, C, H, W) -> (B, out_channels, H / stride,
    W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1, linear=False):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel, stride, groups)
        self.bn = nn.BatchNorm2D(out_channels, momentum=0.9, epsilon=1e-5)
        self.act = nn.Identity() if linear else nn.ReLU()
        self.lab = nn.Identity() if linear else LearnableAffine()

    def forward(self, x):
        return self.lab(self.act(self.bn(self.conv(x))))


class LightConv(nn.Layer):
    """1x1 without activation, then depthwise: (B, C, H, W) -> (B, out_channels, H, W)."""

    def __init__(self, in_channels, out_channels, kernel):
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, 1, linear=True)
        self.conv2 = ConvNormAct(out_channels, out_channels, kernel, groups=out_channels)

    def forward(self, x):
        return self.conv2(self.conv1(x))


class Stem(nn.Layer):
    """Two steps of stride 2. Between them, a max pool and two small convolutions run in parallel: (B, C, H, W) ->
    (B, out_channels, ceil(H / 4), ceil(W / 4)). `zeros`: whether the pool sees zeros beyond the border."""

    def __init__(self, in_channels, inner, out_channels, zeros=True):
        super().__init__()
        self.zeros = zeros
        self.stem1 = ConvNormAct(in_channels, inner, 3, 2)
        self.stem2a = ConvNormAct(inner, inner // 2, 2)
        self.stem2b = ConvNormAct(inner // 2, inner, 2)
        self.stem3 = ConvNormAct(2 * inner, inner, 3, 2)
        self.stem4 = ConvNormAct(inner, out_channels, 1)

    def forward(self, x):
        x = self.stem1(x)
        x = paddle.concat([self.pool(x), self.stem2b(self.stem2a(x))], axis=1)     # (B, 2 * inner, H/2, W/2)
        return self.stem4(self.stem3(x))

    def pool(self, x):
        """The maximum of each pixel and its neighbours below and on the right."""
        return F.max_pool2d(F.pad(x, AT_END), 2, 1) if self.zeros else F.max_pool2d(x, 2, 1, AT_END)


class Block(nn.Layer):
    """Consecutive layers, whose outputs and input are aggregated: (B, C, H, W) -> (B, out_channels, H, W)."""

    def __init__(self, in_channels, inner, out_channels, layers, kernel, light, shortcut, drop_path):
        super().__init__()
        kind = LightConv if light else ConvNormAct
        self.layers = nn.LayerList([kind(inner if i else in_channels, inner, kernel) for i in range(layers)])
        self.aggregation = nn.Sequential(ConvNormAct(in_channels + layers * inner, out_channels // 2, 1),
                                         ConvNormAct(out_channels // 2, out_channels, 1))
        self.shortcut = shortcut
        self.drop_path = DropPath(drop_path if shortcut else 0.0)

    def forward(self, x):
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        y = self.aggregation(paddle.concat(outputs, axis=1))
        return x + self.drop_path(y) if self.shortcut else y


class DownStage(nn.Layer):
    """A depthwise convolution of stride 2 (except in the first stage), then blocks; all but the first have a shortcut:
    (B, C, H, W) -> (B, out_channels, H / 2, W / 2)."""

    def __init__(self, in_channels, inner, out_channels, layers, kernel, light, rates, first):
        super().__init__()
        self.downsample = nn.Identity() if first else ConvNormAct(in_channels, in_channels, 3, 2, in_channels, linear=True)
        self.blocks = Stage(*(Block(out_channels if i else in_channels, inner, out_channels, layers, kernel, light, i > 0, rate)
                              for i, rate in enumerate(rates)))

    def forward(self, x):
        return self.blocks(self.downsample(x))


class Head(nn.Layer):
    """Mean over the map, hidden layer, classifier: (B, C, H, W) -> (B, num_classes)."""

    def __init__(self, in_channels, num_classes, dropout):
        super().__init__()
        self.last_conv = nn.Sequential(conv2d(in_channels, HIDDEN, 1), nn.ReLU(), LearnableAffine())
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(HIDDEN, num_classes)

    def forward(self, x):
        hidden = self.last_conv(F.adaptive_avg_pool2d(x, 1)).flatten(1)           # (B, 2048)
        return self.fc(self.dropout(hidden))


class HGNetV2(StagedNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        stem: channels inside the stem and at its end.
        inner: channels of the layers of a block, per stage.
        channels: channels of the stages.
        depths: blocks of the stages.
        layers: layers of a block.
        design: timm or paddleclas; in the latter, the stem's pool sees no zeros beyond the border.
        dropout: probability in front of the classifier.
        drop_path: probability that a sample skips the last residual branch; it rises linearly from 0 in the first block.
    """

    key_style = 'timm'
    classifier_layers = ('head.fc',)     # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, stem=(16, 16), inner=(16, 32, 64, 128), channels=(64, 256, 512, 1024),
                 depths=(1, 1, 2, 1), layers=3, design='timm', dropout=0.0, drop_path=0.0):
        super().__init__()
        self.stem = Stem(in_channels, *stem, zeros=design == 'timm')
        stages, before, steps = [], stem[1], max(1, sum(depths) - 1)
        for i, (width, depth) in enumerate(zip(channels, depths)):
            rates = [drop_path * (sum(depths[:i]) + j) / steps for j in range(depth)]
            stages.append(DownStage(before, inner[i], width, layers, KERNELS[i], LIGHT[i], rates, first=i == 0))
            before = width
        self.stages = nn.Sequential(*stages)
        self.head = Head(before, num_classes, dropout)
        self.levels, self.feature_strides = levels_of([4, 2, 2, 2])
        self.feature_channels = list(channels)
        self.feature_layers = by_level(self.levels, [[f'stages.{i}'] for i in range(len(stages))])
        self.feature_layers[0] += ['stem']

    def replace_classifier(self, num_classes):
        self.head.fc = linear(HIDDEN, num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model, keys = cfg.MODEL, cfg.MODEL.HGNET
    return HGNetV2(model.NUM_CLASSES, model.IN_CHANNELS, keys.STEM, keys.INNER, keys.CHANNELS, keys.DEPTHS, keys.LAYERS,
                   model.DESIGN, model.DROPOUT, model.DROPPATH)
