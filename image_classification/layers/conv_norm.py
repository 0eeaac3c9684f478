"""A convolution or linear layer paired with a batch norm, and blocks built of such pairs. The checkpoints of LeViT and its
successors call the parts `c`, `bn` and `l`, and so do all families here that use this module."""
from paddle import ParamAttr, nn

from image_classification.cpu.convolution import Conv2D
from image_classification.layers.drop_path import DropPath
from image_classification.layers.gates import ChannelGates
from image_classification.layers.initializers import pytorch_uniform


def constant(value):
    """Attributes of a parameter that is initialised to `value`."""
    return ParamAttr(initializer=nn.initializer.Constant(value))


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel=1, stride=1, groups=1, gain=1.0):
        conv = Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias_attr=False,
                      weight_attr=pytorch_uniform(in_channels // groups * kernel ** 2))
        super().__init__(('c', conv), ('bn', nn.BatchNorm2D(out_channels, momentum=0.9, epsilon=1e-5, weight_attr=constant(gain))))


class NormLinear(nn.Layer):
    """Batch norm, dropout, linear layer: (B, C) -> (B, C')."""

    def __init__(self, in_features, out_features, dropout):
        super().__init__()
        self.bn = nn.BatchNorm1D(in_features, momentum=0.9, epsilon=1e-5)
        self.dropout = nn.Dropout(dropout)
        self.replace(out_features)

    def replace(self, out_features):
        """Put in a fresh linear layer."""
        self.l = nn.Linear(self.bn.weight.shape[0], out_features, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                           bias_attr=nn.initializer.Constant(0.0))

    def forward(self, x):
        x = self.bn(x)
        return self.l(self.dropout(x) if self.training else x)     # without dropout between them, norm and layer can be fused


class Residual(nn.Layer):
    """x + m(x). In training, each sample skips `m` with probability `drop_path`."""

    def __init__(self, m, drop_path=0.0):
        super().__init__()
        self.m = m
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        return x + self.drop_path(self.m(x))


class FFN(nn.Layer):
    """Two pointwise convolutions with twice the channels between them: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.pw1 = ConvNorm(channels, 2 * channels)
        self.act = nn.ReLU()
        self.pw2 = ConvNorm(2 * channels, channels, gain=0.0)

    def forward(self, x):
        return self.pw2(self.act(self.pw1(x)))


def depthwise_and_ffn(channels, gain=1.0, drop_path=0.0):
    """Two residual layers, a 3x3 depthwise convolution and an FFN, each (B, C, H, W) -> (B, C, H, W)."""
    return (Residual(ConvNorm(channels, channels, 3, groups=channels, gain=gain), drop_path),
            Residual(FFN(channels), drop_path))


class PatchMerging(nn.Layer):
    """An inverted bottleneck with squeeze and excitation that halves the map: (B, C, H, W) -> (B, C', H / 2, W / 2)."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        hidden = 4 * in_channels
        self.conv1 = ConvNorm(in_channels, hidden)
        self.act = nn.ReLU()
        self.conv2 = ConvNorm(hidden, hidden, 3, stride=2, groups=hidden)
        self.se = ChannelGates(hidden, max(8, (hidden // 4 + 4) // 8 * 8))   # a quarter, to the nearest multiple of 8
        self.conv3 = ConvNorm(hidden, out_channels)

    def forward(self, x):
        x = self.act(self.conv2(self.act(self.conv1(x))))
        return self.conv3(self.se(x))


def merging(in_channels, out_channels, drop_path=0.0):
    """The three layers between two stages: `depthwise_and_ffn`, patch merging, and `depthwise_and_ffn` again."""
    return [nn.Sequential(*depthwise_and_ffn(in_channels, drop_path=drop_path)), PatchMerging(in_channels, out_channels),
            nn.Sequential(*depthwise_and_ffn(out_channels, drop_path=drop_path))]


def patch_embedding(in_channels, out_channels, activation=nn.ReLU, last_stride=2):
    """Four 3x3 convolutions of stride 2 (the last one of `last_stride`): (B, C, H, W) -> (B, out_channels, H / 16, W / 16)."""
    c = out_channels
    return nn.Sequential(
        ConvNorm(in_channels, c // 8, 3, 2), activation(), ConvNorm(c // 8, c // 4, 3, 2), activation(),
        ConvNorm(c // 4, c // 2, 3, 2), activation(), ConvNorm(c // 2, c, 3, last_stride))


def finer_levels(out_channels, below=16):
    """(indices, channels, strides) of the layers of a `patch_embedding` whose maps have a stride less than `below`."""
    c = out_channels
    rows = [(1, c // 8, 2), (3, c // 4, 4), (5, c // 2, 8)]
    return zip(*(row for row in rows if row[2] < below))


def each_output(layers, x):
    """The outputs of all layers, applied one after another."""
    maps = []
    for layer in layers:
        x = layer(x)
        maps.append(x)
    return maps
