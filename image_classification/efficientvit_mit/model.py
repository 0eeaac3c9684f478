"""EfficientViT-B of MIT, https://arxiv.org/abs/2205.14756, not to be confused with Microsoft's EfficientViT. Sub-layers bear
the names of timm's `efficientvit_b*` checkpoints.

Inverted residuals, and linear attention in the last two stages. A ReLU makes its queries and keys non-negative. The sum of the
products of keys and values over all pixels, (d, d) for each head, is computed once; each query is multiplied by it. For half of
the heads, a depthwise convolution of queries, keys and values adds a neighbourhood of 5 x 5 pixels.

- *Batch norms* are missing behind the expansions of the last two stages, where the convolutions have a bias instead.
- *Stochastic depth* (`DROPPATH`): the rate rises linearly over all residual branches, as in the authors' training.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import (Conv2D, DropPath, Hardswish, LayerNorm, Stage, StagedNetwork, by_level, levels_of,
                                         read_map)

EXPANSION, SCALE = 4, 5                                            # of inverted residuals; kernel of the second half of heads
EPSILON = 1e-5                                                     # added to a sum of weights, which may be 0
HALF = (paddle.float16, paddle.bfloat16)


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1, bias=False):
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups,
                  weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                  bias_attr=nn.initializer.Constant(0.0) if bias else False)


def linear(in_features, out_features, bias=True):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                     bias_attr=nn.initializer.Constant(0.0) if bias else False)


class ConvNormAct(nn.Layer):
    """Convolution, batch norm (or a bias), optional hard-swish: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1, norm=True, act=True):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel, stride, groups, bias=not norm)
        self.norm = nn.BatchNorm2D(out_channels, momentum=0.9, epsilon=1e-5) if norm else nn.Identity()
        self.act = Hardswish() if act else nn.Identity()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class DepthwiseSeparable(nn.Layer):
    """Depthwise convolution, 1x1 convolution: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.depth_conv = ConvNormAct(channels, channels, 3, groups=channels)
        self.point_conv = ConvNormAct(channels, channels, 1, act=False)

    def forward(self, x):
        return self.point_conv(self.depth_conv(x))


class MBConv(nn.Layer):
    """1x1 up, depthwise, 1x1 down: (B, C, H, W) -> (B, out_channels, H / stride, W / stride).

    `norm`: whether the first two convolutions have a batch norm, like the last.
    """

    def __init__(self, in_channels, out_channels, stride, norm):
        super().__init__()
        hidden = EXPANSION * in_channels
        self.inverted_conv = ConvNormAct(in_channels, hidden, 1, norm=norm)
        self.depth_conv = ConvNormAct(hidden, hidden, 3, stride, hidden, norm=norm)
        self.point_conv = ConvNormAct(hidden, out_channels, 1, act=False)

    def forward(self, x):
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))


class LinearAttention(nn.Layer):
    """Attention with ReLU instead of softmax, at two scales: (B, C, H, W) -> (B, C, H, W). `dim`: channels of a head."""

    def __init__(self, channels, dim):
        super().__init__()
        self.dim, wide = dim, 3 * (channels // dim) * dim
        self.qkv = nn.Sequential(('conv', conv2d(channels, wide, 1)))
        self.aggreg = nn.LayerList([nn.Sequential(conv2d(wide, wide, SCALE, groups=wide),
                                                  conv2d(wide, wide, 1, groups=wide // dim))])
        self.proj = ConvNormAct(2 * wide // 3, channels, 1, act=False)

    def forward(self, x):
        H, W = x.shape[2:]
        qkv = self.qkv(x)
        qkv = paddle.concat([qkv, self.aggreg[0](qkv)], axis=1)    # (B, 2 * heads * 3 * dim, H, W)
        if qkv.dtype in HALF:
            qkv = qkv.astype('float32')                            # sums over all pixels overflow half precision
        heads = qkv.shape[1] // (3 * self.dim)
        query, key, value = qkv.reshape([0, heads, 3 * self.dim, -1]).split(3, axis=2)   # each (B, heads, dim, H*W)
        query, key = F.relu(query), F.relu(key)
        read = read_map(value, key) @ query                        # (B, heads, dim, H*W)
        weights = key.sum(axis=-1).unsqueeze(2) @ query            # (B, heads, 1, H*W)
        read = (read / (weights + EPSILON)).reshape([0, heads * self.dim, H, W])
        return self.proj(read.astype(x.dtype))


class Residual(nn.Layer):
    """x + main(x), or main(x) without a `shortcut`."""

    def __init__(self, main, shortcut=True, drop_path=0.0):
        super().__init__()
        self.main = main
        self.shortcut = shortcut
        self.drop_path = DropPath(drop_path if shortcut else 0.0)

    def forward(self, x):
        return x + self.drop_path(self.main(x)) if self.shortcut else self.main(x)


class EfficientViTBlock(nn.Layer):
    """Attention for the global context, then an inverted residual for local detail: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, dim, drop_path):
        super().__init__()
        self.context_module = Residual(LinearAttention(channels, dim), drop_path=drop_path)
        self.local_module = Residual(MBConv(channels, channels, 1, norm=False), drop_path=drop_path)

    def forward(self, x):
        return self.local_module(self.context_module(x))


class DownStage(nn.Layer):
    """An inverted residual of stride 2, then `depth - 1` further ones, or `depth` blocks with attention if `dim` is not 0:
    (B, C, H, W) -> (B, out_channels, H / 2, W / 2)."""

    def __init__(self, in_channels, out_channels, depth, dim, rates):
        super().__init__()
        blocks = [Residual(MBConv(in_channels, out_channels, 2, norm=not dim), shortcut=False)]
        if dim:
            blocks += [EfficientViTBlock(out_channels, dim, rate) for rate in rates]
        else:
            blocks += [Residual(MBConv(out_channels, out_channels, 1, norm=True), drop_path=rate) for rate in rates[1:]]
        self.blocks = Stage(*blocks)

    def forward(self, x):
        return self.blocks(x)


class Head(nn.Layer):
    """1x1 convolution, mean over the map, hidden layer, classifier: (B, C, H, W) -> (B, num_classes)."""

    def __init__(self, in_channels, units, num_classes, dropout):
        super().__init__()
        first, second = units
        self.in_conv = ConvNormAct(in_channels, first, 1)
        self.classifier = nn.Sequential(linear(first, second, bias=False), LayerNorm(second, epsilon=1e-5), Hardswish(),
                                        nn.Dropout(dropout), linear(second, num_classes))

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.in_conv(x), 1).flatten(1))


class EfficientViT(StagedNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        channels: of the stem and of the four stages.
        depths: their blocks; the last two stages have one more, which halves the map.
        dim: channels of a head.
        units: of the two hidden layers of the classifier.
        dropout: probability in front of the classifier.
        drop_path: probability that a sample skips the last residual branch; it rises linearly from 0 in the first block.
    """

    key_style = 'timm'
    classifier_layers = ('head.classifier.4',)   # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, channels=(8, 16, 32, 64, 128), depths=(1, 2, 2, 2, 2), dim=16,
                 units=(1024, 1280), dropout=0.0, drop_path=0.0):
        super().__init__()
        steps, numbers = max(1, sum(depths) - 1), iter(range(sum(depths)))
        rates = [[drop_path * next(numbers) / steps for _ in range(depth)] for depth in depths]
        self.stem = Stage(('in_conv', ConvNormAct(in_channels, channels[0], 3, 2)),
                          *((f'res{i}', Residual(DepthwiseSeparable(channels[0]), drop_path=rate))
                            for i, rate in enumerate(rates[0])))
        self.stages = nn.Sequential(*(DownStage(channels[i], channels[i + 1], depths[i + 1], dim if i >= 2 else 0, rates[i + 1])
                                      for i in range(4)))
        self.head = Head(channels[-1], units, num_classes, dropout)
        self.levels, self.feature_strides = levels_of([4, 2, 2, 2])
        self.feature_channels = list(channels[1:])
        self.feature_layers = by_level(self.levels, [[f'stages.{i}'] for i in range(4)])
        self.feature_layers[0] += ['stem']

    def replace_classifier(self, num_classes):
        layers = self.head.classifier
        layers[4] = linear(layers[0].weight.shape[1], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model, keys = cfg.MODEL, cfg.MODEL.EFFICIENTVIT
    return EfficientViT(model.NUM_CLASSES, model.IN_CHANNELS, keys.CHANNELS, keys.DEPTHS, keys.DIM, keys.HEAD, model.DROPOUT,
                        model.DROPPATH)
