"""SwiftFormer, https://arxiv.org/abs/2303.15446. Sub-layers bear the names of the authors' checkpoints (Amshaker/SwiftFormer).

Convolutions and, in the last block of each stage, additive attention: the weighted sum of all queries, with learnt weights, is
multiplied with every key. The cost is linear in the number of pixels.

- *Two classifiers* (`DISTILLED`): training gives the logits of both, evaluation their mean. The authors' second classifier
  learns a teacher's answers. The trainer here treats it as an auxiliary head.
- *Stochastic depth* (`DROPPATH`): the rate rises linearly from 0 in the first block. Only blocks with attention use it, as in
  the authors' code; in timm, all blocks do.
- *The last batch norm* belongs to `forward_features`, as in timm, but to no feature map.
- *Dropout* (`DROPOUT`) acts in front of the classifiers, as in timm. The authors have it in the MLPs, with a rate of 0.
"""
import paddle
from paddle import nn

from image_classification.cpu.convolution import conv_bn
from image_classification.layers import Conv2D, DropPath, Linear, Stage, drop_path_rates, gelu, of_length_one
from image_classification.layers.distilled import DistilledNetwork, Embedding, Stem

MLP_RATIO = 4                                                      # hidden channels / channels
LAYER_SCALE = 1e-5                                                 # initial value, for attention and MLP


def conv2d(in_channels, out_channels, kernel=1, stride=1, groups=1):
    """A convolution with a bias: (B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups,
                  weight_attr=nn.initializer.TruncatedNormal(std=0.02), bias_attr=nn.initializer.Constant(0.0))


def linear(in_features, out_features):
    return Linear(in_features, out_features, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                  bias_attr=nn.initializer.Constant(0.0))


def batch_norm(channels):
    return nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-5)


def layer_scale(layer, channels, value):
    """A new parameter of `layer`, one factor per channel."""
    return layer.create_parameter([channels, 1, 1], default_initializer=nn.initializer.Constant(value))


class ConvEncoder(nn.Layer):
    """3x3 depthwise, 1x1 up, 1x1 down, with a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, ratio=MLP_RATIO):
        super().__init__()
        self.dwconv, self.norm = conv2d(channels, channels, 3, groups=channels), batch_norm(channels)
        self.pwconv1, self.pwconv2 = conv2d(channels, ratio * channels), conv2d(ratio * channels, channels)
        self.layer_scale = layer_scale(self, channels, 1.0)

    def scaled(self, y):
        return self.layer_scale * y

    def forward(self, x):
        return x + self.scaled(self.pwconv2(gelu(self.pwconv1(conv_bn(x, self.dwconv, self.norm)))))


class Mlp(nn.Layer):
    """Batch norm, 1x1 up, 1x1 down: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.norm1 = batch_norm(channels)
        self.fc1, self.fc2 = conv2d(channels, MLP_RATIO * channels), conv2d(MLP_RATIO * channels, channels)

    def forward(self, x):
        return self.fc2(gelu(self.fc1(self.norm1(x))))


class EfficientAdditiveAttention(nn.Layer):
    """Attention over N pixels by one query, the weighted sum of all queries: (B, N, C) -> (B, N, C).

    The original multiplies the weights by C ** -0.5, but then divides them by their length.
    """

    def __init__(self, channels):
        super().__init__()
        self.to_query, self.to_key = linear(channels, channels), linear(channels, channels)
        self.w_g = self.create_parameter([channels, 1], default_initializer=nn.initializer.Normal())
        self.Proj, self.final = linear(channels, channels), linear(channels, channels)

    def forward(self, x):
        query, key = of_length_one(self.to_query(x), 2), of_length_one(self.to_key(x), 2)
        weights = of_length_one(query @ self.w_g, 1)               # (B, N, 1), of length 1 over all pixels
        summed = paddle.matmul(weights, query, transpose_x=True)   # (B, 1, C)
        return self.final(self.Proj(summed * key) + query)


class SwiftFormerEncoder(nn.Layer):
    """Convolutions, attention, an MLP, each with a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, drop_path):
        super().__init__()
        self.local_representation = ConvEncoder(channels, ratio=1)
        self.attn = EfficientAdditiveAttention(channels)
        self.linear = Mlp(channels)
        self.layer_scale_1 = layer_scale(self, channels, LAYER_SCALE)
        self.layer_scale_2 = layer_scale(self, channels, LAYER_SCALE)
        self.drop_path = DropPath(drop_path)

    def scaled(self, y, number):
        """Multiply by layer scale 1 or 2."""
        return (self.layer_scale_1 if number == 1 else self.layer_scale_2) * y

    def forward(self, x):
        x = self.local_representation(x)
        H, W = x.shape[2:]
        y = self.attn(x.flatten(2).transpose([0, 2, 1])).transpose([0, 2, 1])  # (B, C, H*W)
        x = x + self.drop_path(self.scaled(y.reshape([0, 0, H, W]), 1))
        return x + self.drop_path(self.scaled(self.linear(x), 2))


class SwiftFormer(DistilledNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    With `distilled`, training gives (logits, logits of the classifier that learns from a teacher), evaluation their mean.
    Args:
        dims, depths: channels and blocks of each stage.
        dropout: probability in front of the classifiers. drop_path: rate in the last block; it rises linearly from 0.
    """

    def __init__(self, num_classes, in_channels, dims, depths, distilled=True, dropout=0.0, drop_path=0.0):
        half, layers = dims[0] // 2, []
        for i, (channels, rates) in enumerate(zip(dims, drop_path_rates(drop_path, depths))):
            if i > 0:
                layers.append(Embedding(conv2d(dims[i - 1], channels, 3, 2), batch_norm(channels)))
            layers.append(Stage(*(ConvEncoder(channels) for _ in rates[1:]), SwiftFormerEncoder(channels, rates[-1])))
        stem = Stem(conv2d(in_channels, half, 3, 2), batch_norm(half), nn.ReLU(),
                    conv2d(half, dims[0], 3, 2), batch_norm(dims[0]), nn.ReLU())
        super().__init__(stem, layers, batch_norm(dims[-1]), dims, num_classes, distilled, dropout)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model, former = cfg.MODEL, cfg.MODEL.SWIFTFORMER
    return SwiftFormer(model.NUM_CLASSES, model.IN_CHANNELS, former.DIMS, former.DEPTHS, model.DISTILLED, model.DROPOUT,
                       model.DROPPATH)
