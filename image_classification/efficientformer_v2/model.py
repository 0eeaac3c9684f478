"""EfficientFormerV2, https://arxiv.org/abs/2212.08059. Sub-layers bear the names of the authors' checkpoints
(snap-research/EfficientFormer).

Mobile convolutions and, at the end of the last two stages, attention with talking heads, found by a joint search for size and
speed. Where the sources differ, this network is built as follows:

- *Attention biases belong to maps of 14 x 14 and 7 x 7 pixels, those of 224 x 224 images*, and the originals accept no other.
  Here every size works: distances beyond the table count as its largest distance. `SIDE` makes a network with biases for
  another map; timm's argument is `img_size`, sixteen times as much.
- *Stride attention* (third stage) runs on a map of half the size and enlarges the result by interpolation. Here it is enlarged
  to exactly the size of its input, which may be odd.
- *The originals' `eval()` caches the attention biases, so weights loaded afterwards have no effect.* Here nothing is cached.
- *Two classifiers* (`DISTILLED`): training gives the logits of both, evaluation their mean. The authors' second classifier
  learns a teacher's answers. The trainer here treats it as an auxiliary head.
- *The last batch norm* belongs to `forward_features`, as in timm, but to no feature map.
- *Dropout* (`DROPOUT`) acts in front of the classifiers, as in timm. The authors have it in the MLPs, with a rate of 0.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.convolution import conv_bn
from image_classification.errors import UserError
from image_classification.layers import GELU, Conv2D, DropPath, Stage, batch_norm, drop_path_rates, gelu, pytorch_uniform
from image_classification.layers.distilled import DistilledNetwork, Embedding, Stem
from image_classification.layers.position_bias import PositionBias, bias_tables

HEADS, KEY_DIM, RATIO = 8, 32, 4                                   # of attention; RATIO: channels of a value / of a key
DOWN_KEY_DIM = 16                                                  # of the attention between the last two stages
LAYER_SCALE = 1e-5                                                 # initial value


def conv2d(in_channels, out_channels, kernel=1, stride=1, groups=1):
    """A convolution with a bias: (B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
    init = pytorch_uniform(in_channels // groups * kernel ** 2)
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, weight_attr=init, bias_attr=init)


def layer_scale(layer, channels):
    """A new parameter of `layer`, one factor per channel."""
    return layer.create_parameter([channels, 1, 1], default_initializer=nn.initializer.Constant(LAYER_SCALE))


class ConvNorm(nn.Sequential):
    """Convolution, then batch norm: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, *shape, **options):
        super().__init__(conv2d(*shape, **options), batch_norm(shape[1]))

    def forward(self, x):
        return conv_bn(x, *self)


class Projection(nn.Sequential):
    """GELU, 1x1 convolution, batch norm: (B, C, H, W) -> (B, out_channels, H, W)."""

    def __init__(self, in_channels, out_channels):
        super().__init__(GELU(), conv2d(in_channels, out_channels), batch_norm(out_channels))

    def forward(self, x):
        act, conv, norm = self
        return conv_bn(act(x), conv, norm)


def stem(in_channels, out_channels):
    half = out_channels // 2
    return Stem(conv2d(in_channels, half, 3, 2), batch_norm(half), GELU(),
                conv2d(half, out_channels, 3, 2), batch_norm(out_channels), GELU())


class Mlp(nn.Layer):
    """1x1 up, 3x3 depthwise, 1x1 down: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, ratio):
        super().__init__()
        hidden = int(channels * ratio)
        self.fc1, self.norm1 = conv2d(channels, hidden), batch_norm(hidden)
        self.mid, self.mid_norm = conv2d(hidden, hidden, 3, groups=hidden), batch_norm(hidden)
        self.fc2, self.norm2 = conv2d(hidden, channels), batch_norm(channels)
        for conv in (self.fc1, self.fc2):
            nn.initializer.TruncatedNormal(std=0.02)(conv.weight)
            nn.initializer.Constant(0.0)(conv.bias)

    def forward(self, x):
        x = gelu(conv_bn(x, self.fc1, self.norm1))
        x = gelu(conv_bn(x, self.mid, self.mid_norm))
        return conv_bn(x, self.fc2, self.norm2)


def attend(query, key, value, heads, scale, biases, talk=(None, None)):
    """Attention of the pixels of `query` over those of `key` and `value`: (B, heads * d, h, w), (B, heads * d, H, W),
    (B, heads * D, H, W), ... -> (B, heads * D, h, w). `talk`: layers that mix the heads before and after the softmax."""
    parts = [part.flatten(2).reshape([0, heads, part.shape[1] // heads, part.shape[2] * part.shape[3]])
             for part in (query, key, value)]                      # (B, heads, d, pixels)
    scores = paddle.matmul(parts[0] * scale, parts[1], transpose_x=True) + biases    # (B, heads, queries, keys)
    before, after = talk
    attention = F.softmax(before(scores) if before else scores)
    attention = after(attention) if after else attention
    mixed = paddle.matmul(parts[2], attention, transpose_y=True)   # (B, heads, D, queries)
    return mixed.reshape([-1, value.shape[1], *query.shape[2:]])


class Attention4D(PositionBias):
    """Talking-heads attention among all pixels, plus a depthwise convolution of the values: (B, C, H, W) -> (B, C, H, W).
    With stride 2, it runs on a map of half the size."""

    def __init__(self, channels, side, stride=1):
        super().__init__(HEADS, -(-side // stride))
        self.scale, value = KEY_DIM ** -0.5, HEADS * RATIO * KEY_DIM
        self.stride_conv = ConvNorm(channels, channels, 3, stride=stride, groups=channels) if stride > 1 else None
        self.q, self.k = ConvNorm(channels, HEADS * KEY_DIM), ConvNorm(channels, HEADS * KEY_DIM)
        self.v, self.v_local = ConvNorm(channels, value), ConvNorm(value, value, 3, groups=value)
        self.talking_head1, self.talking_head2 = conv2d(HEADS, HEADS), conv2d(HEADS, HEADS)
        self.proj = Projection(value, channels)

    def forward(self, x):
        size = x.shape[2:]
        if self.stride_conv is not None:
            x = self.stride_conv(x)
        value = self.v(x)
        y = attend(self.q(x), self.k(x), value, HEADS, self.scale, self.biases(*x.shape[2:]),
                   (self.talking_head1, self.talking_head2)) + self.v_local(value)
        if self.stride_conv is not None:
            y = F.interpolate(y, size, mode='bilinear', align_corners=False)
        return self.proj(y)


class LGQuery(nn.Layer):
    """Every second pixel plus a strided convolution: (B, C, H, W) -> (B, out_channels, ceil(H / 2), ceil(W / 2))."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.local = nn.Sequential(conv2d(in_channels, in_channels, 3, 2, groups=in_channels))
        self.proj = ConvNorm(in_channels, out_channels)

    def forward(self, x):
        return self.proj(self.local(x) + x[:, :, ::2, ::2])


class Attention4DDownsample(PositionBias):
    """Attention of every second pixel to all, without talking heads: (B, C, H, W) -> (B, out_channels, ceil(H / 2),
    ceil(W / 2))."""

    def __init__(self, in_channels, out_channels, side):
        super().__init__(HEADS, side, stride=2)
        self.scale, value = DOWN_KEY_DIM ** -0.5, HEADS * RATIO * DOWN_KEY_DIM
        self.q, self.k = LGQuery(in_channels, HEADS * DOWN_KEY_DIM), ConvNorm(in_channels, HEADS * DOWN_KEY_DIM)
        self.v, self.v_local = ConvNorm(in_channels, value), ConvNorm(value, value, 3, stride=2, groups=value)
        self.proj = Projection(value, out_channels)

    def forward(self, x):
        value = self.v(x)
        y = attend(self.q(x), self.k(x), value, HEADS, self.scale, self.biases(*x.shape[2:]))
        return self.proj(y + self.v_local(value))


class AttentionEmbedding(nn.Layer):
    """The sum of a convolution and an attention that both halve the map: (B, C, H, W) -> (B, out_channels, ceil(H / 2),
    ceil(W / 2)). `side`: of the map that the attention biases fit."""

    def __init__(self, in_channels, out_channels, side):
        super().__init__()
        self.attn = Attention4DDownsample(in_channels, out_channels, side)
        self.conv, self.bn = conv2d(in_channels, out_channels, 3, 2), batch_norm(out_channels)

    def forward(self, x):
        return self.attn(x) + conv_bn(x, self.conv, self.bn)


class FFN(nn.Layer):
    """An MLP with a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, ratio, drop_path):
        super().__init__()
        self.mlp = Mlp(channels, ratio)
        self.layer_scale_2 = layer_scale(self, channels)
        self.drop_path = DropPath(drop_path)

    def scaled(self, y, number):
        """Multiply by layer scale 1 or 2."""
        return (self.layer_scale_1 if number == 1 else self.layer_scale_2) * y

    def forward(self, x):
        return x + self.drop_path(self.scaled(self.mlp(x), 2))


class AttnFFN(FFN):
    """Attention, then an MLP, each with a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, ratio, drop_path, side, stride):
        super().__init__(channels, ratio, drop_path)
        self.token_mixer = Attention4D(channels, side, stride)
        self.layer_scale_1 = layer_scale(self, channels)

    def forward(self, x):
        x = x + self.drop_path(self.scaled(self.token_mixer(x), 1))
        return x + self.drop_path(self.scaled(self.mlp(x), 2))


class EfficientFormerV2(DistilledNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    With `distilled`, training gives (logits, logits of the classifier that learns from a teacher), evaluation their mean.
    Args:
        dims, depths: channels and blocks of each stage. attentions: last blocks with attention in each of the last two stages.
        ratios: hidden channels / channels of the MLPs, one number per block.
        side: pixels on a side of the third stage's map that the attention biases fit.
        dropout: probability in front of the classifiers. drop_path: rate in the last block; it rises linearly from 0.
    """

    derived_entries = ('attention_bias_idxs',)                     # in published files, but computed here

    def __init__(self, num_classes, in_channels, dims, depths, attentions, ratios, side=14, distilled=True, dropout=0.0,
                 drop_path=0.0):
        ratios, layers = iter(ratios), []
        for i, (channels, depth, rates) in enumerate(zip(dims, depths, drop_path_rates(drop_path, depths))):
            if i == 3:
                layers.append(AttentionEmbedding(dims[2], channels, side))
            elif i > 0:
                layers.append(Embedding(conv2d(dims[i - 1], channels, 3, 2), batch_norm(channels)))
            place = (side, 2) if i == 2 else (-(-side // 2), 1)    # side of the map, stride of the attention
            plain = depth - attentions if i >= 2 else depth
            layers.append(Stage(*(FFN(channels, next(ratios), rate) if j < plain else
                                  AttnFFN(channels, next(ratios), rate, *place) for j, rate in enumerate(rates))))
        super().__init__(stem(in_channels, dims[0]), layers, batch_norm(dims[-1]), dims, num_classes, distilled, dropout)

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms, biases and layer scales."""
        return bias_tables(self)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, former = cfg.MODEL, cfg.MODEL.EFFICIENTFORMER
    if len(former.RATIOS) != sum(former.DEPTHS):
        raise UserError(f'MODEL.EFFICIENTFORMER.RATIOS has {len(former.RATIOS)} numbers; wanted one for each of the '
                        f'{sum(former.DEPTHS)} blocks of DEPTHS')
    if former.ATTENTIONS > min(former.DEPTHS[2:]):
        raise UserError(f'MODEL.EFFICIENTFORMER.ATTENTIONS is {former.ATTENTIONS}; wanted at most {min(former.DEPTHS[2:])}, as many '
                        'blocks as the third and the fourth stage have')
    return EfficientFormerV2(model.NUM_CLASSES, model.IN_CHANNELS, former.DIMS, former.DEPTHS, former.ATTENTIONS, former.RATIOS,
                             former.SIDE, model.DISTILLED, model.DROPOUT, model.DROPPATH)
