"""Inception-ResNet-v2, https://arxiv.org/abs/1602.07261, section 3.2. Names are those of timm's `inception_resnet_v2`.

Details:

- *The original tutorial code calls this network Inception-v2*, with the same layer names: its weights load here. It averages
  the last map over a square of the map's height, which ignores the rest of a wide image. Here, as in timm, the whole map is
  averaged.
- *The widths are those of TensorFlow's code, not of the paper's figures*: 320, 1088 and 2080 channels (paper: 384, 1154, 2048).
  The stem is that of Inception v3, not of v4.
- *The branches are scaled before they are added*, by 0.17, 0.1 and 0.2. The last block has a factor of 1 and no ReLU.
- *Stem and reductions have no padding*, so maps are a little smaller than H / stride: 299 gives 147, 71, 35, 17 and 8.
- *The average pool does not count the padding*, which is Paddle's default; those of Inception v3 do.
"""
from functools import partial

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import BasicConv2d, Branches, Conv2D, DropPath, Network, Stage, check_size, pytorch_uniform

SMALLEST = 75                                                      # pixels per side; below it no map reaches mixed_7a
# PyTorch's default: uniform within +-1 / sqrt(fan_in).
PYTORCH = nn.initializer.KaimingUniform(negative_slope=5 ** 0.5, nonlinearity='leaky_relu')
Conv = partial(BasicConv2d, init=PYTORCH)


def side_by_side(*branches):
    """`Branches` with the published names branch0, branch1, ..."""
    return Branches(**{f'branch{i}': branch for i, branch in enumerate(branches)})


class Residual(nn.Layer):
    """x + scale * conv2d(branch0(x), branch1(x), ...), then ReLU: (B, channels, H, W) -> the same.

    `width`: channels of all branches together.
    """

    def __init__(self, channels, width, branches, scale, drop_path, relu=True):
        super().__init__()
        self.names = [f'branch{i}' for i in range(len(branches))]
        for name, branch in zip(self.names, branches):
            self.add_sublayer(name, branch)
        self.conv2d = Conv2D(width, channels, 1, weight_attr=PYTORCH, bias_attr=pytorch_uniform(width))
        self.drop_path = DropPath(drop_path)
        self.scale, self.relu = scale, relu

    def forward(self, x):
        inner = paddle.concat([getattr(self, name)(x) for name in self.names], axis=1)
        out = x + self.drop_path(self.conv2d(inner) * self.scale)
        return F.relu(out) if self.relu else out


def mixed_5b():
    """Inception-A: (B, 192, H, W) -> (B, 320, H, W)."""
    return side_by_side(
        Conv(192, 96, 1),
        nn.Sequential(Conv(192, 48, 1), Conv(48, 64, 5, same=True)),
        nn.Sequential(Conv(192, 64, 1), Conv(64, 96, 3, same=True), Conv(96, 96, 3, same=True)),
        nn.Sequential(nn.AvgPool2D(3, 1, padding=1), Conv(192, 64, 1)))


def block35(scale, drop_path):
    """Inception-ResNet-A: (B, 320, H, W) -> the same."""
    return Residual(320, 128, [
        Conv(320, 32, 1),
        nn.Sequential(Conv(320, 32, 1), Conv(32, 32, 3, same=True)),
        nn.Sequential(Conv(320, 32, 1), Conv(32, 48, 3, same=True), Conv(48, 64, 3, same=True))],
        scale, drop_path)


def mixed_6a():
    """Reduction-A: (B, 320, H, W) -> (B, 1088, (H - 1) // 2, (W - 1) // 2)."""
    return side_by_side(
        Conv(320, 384, 3, stride=2),
        nn.Sequential(Conv(320, 256, 1), Conv(256, 256, 3, same=True), Conv(256, 384, 3, stride=2)),
        nn.MaxPool2D(3, 2))


def block17(scale, drop_path):
    """Inception-ResNet-B: (B, 1088, H, W) -> the same."""
    return Residual(1088, 384, [
        Conv(1088, 192, 1),
        nn.Sequential(Conv(1088, 128, 1), Conv(128, 160, (1, 7), same=True),
                      Conv(160, 192, (7, 1), same=True))],
        scale, drop_path)


def mixed_7a():
    """Reduction-B: (B, 1088, H, W) -> (B, 2080, (H - 1) // 2, (W - 1) // 2)."""
    return side_by_side(
        nn.Sequential(Conv(1088, 256, 1), Conv(256, 384, 3, stride=2)),
        nn.Sequential(Conv(1088, 256, 1), Conv(256, 288, 3, stride=2)),
        nn.Sequential(Conv(1088, 256, 1), Conv(256, 288, 3, same=True), Conv(288, 320, 3, stride=2)),
        nn.MaxPool2D(3, 2))


def block8(scale, drop_path, relu=True):
    """Inception-ResNet-C: (B, 2080, H, W) -> the same."""
    return Residual(2080, 448, [
        Conv(2080, 192, 1),
        nn.Sequential(Conv(2080, 192, 1), Conv(192, 224, (1, 3), same=True),
                      Conv(224, 256, (3, 1), same=True))],
        scale, drop_path, relu)


class InceptionResNetV2(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); H and W of at least 75.

    Args:
        depths, scales: number of residual blocks at strides 8, 16 and 32, and the factors of their branches. One more block
            with factor 1 follows at stride 32.
        dropout: probability in front of the classifier; the paper's is 0.2.
        drop_path: probability that a sample skips the last residual branch; it rises linearly from 0 in the first block.
    """

    def __init__(self, num_classes=1000, in_channels=3, depths=(10, 20, 9), scales=(0.17, 0.1, 0.2), dropout=0.2,
                 drop_path=0.0):
        super().__init__()
        total = sum(depths)
        drops = [drop_path * i / max(total, 1) for i in range(total + 1)]
        drops35, drops17, drops8 = drops[:depths[0]], drops[depths[0]:sum(depths[:2])], drops[sum(depths[:2]):-1]
        self.conv2d_1a = Conv(in_channels, 32, 3, stride=2)
        self.conv2d_2a = Conv(32, 32, 3)
        self.conv2d_2b = Conv(32, 64, 3, same=True)
        self.maxpool_3a = nn.MaxPool2D(3, 2)
        self.conv2d_3b = Conv(64, 80, 1)
        self.conv2d_4a = Conv(80, 192, 3)
        self.maxpool_5a = nn.MaxPool2D(3, 2)
        self.mixed_5b = mixed_5b()
        self.repeat = Stage(*(block35(scales[0], drop) for drop in drops35))
        self.mixed_6a = mixed_6a()
        self.repeat_1 = Stage(*(block17(scales[1], drop) for drop in drops17))
        self.mixed_7a = mixed_7a()
        self.repeat_2 = Stage(*(block8(scales[2], drop) for drop in drops8))
        self.block8 = block8(1.0, drop_path, relu=False)
        self.conv2d_7b = Conv(2080, 1536, 1)
        self.dropout = nn.Dropout(dropout)
        self.replace_classifier(num_classes)
        self.feature_channels = [64, 192, 320, 1088, 1536]
        self.feature_strides = [2, 4, 8, 16, 32]

    feature_layers = [['conv2d_1a', 'conv2d_2a', 'conv2d_2b'], ['conv2d_3b', 'conv2d_4a'], ['mixed_5b', 'repeat'],
                      ['mixed_6a', 'repeat_1'], ['mixed_7a', 'repeat_2', 'block8', 'conv2d_7b']]
    key_style = 'timm'
    classifier_layers = ('classif',)  # what a new number of classes replaces

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        check_size(x, SMALLEST, 'Inception-ResNet-v2')
        s2 = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        s4 = self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(s2)))
        s8 = self.repeat(self.mixed_5b(self.maxpool_5a(s4)))
        s16 = self.repeat_1(self.mixed_6a(s8))
        s32 = self.conv2d_7b(self.block8(self.repeat_2(self.mixed_7a(s16))))
        return [s2, s4, s8, s16, s32]

    def forward_features(self, x):
        """(B, 1536, H', W'), 8 x 8 for 299 x 299."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.classif(self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1)))

    def replace_classifier(self, num_classes):
        self.classif = nn.Linear(1536, num_classes, weight_attr=PYTORCH, bias_attr=pytorch_uniform(1536))


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    for key in ('DEPTHS', 'SCALES'):
        if len(model[key]) != 3:
            raise UserError(f'MODEL.{key} is {model[key]}; wanted three numbers, for strides 8, 16 and 32')
    return InceptionResNetV2(num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, depths=model.DEPTHS,
                             scales=model.SCALES, dropout=model.DROPOUT, drop_path=model.DROPPATH)
