"""EdgeNeXt, https://arxiv.org/abs/2206.10589. Sub-layers bear the names of the mmaaz60/EdgeNeXt checkpoints.

Maps are (B, C, H, W) throughout: attention runs over channels, so that queries, keys and values are slices of a map, and the
linear layers, whose shapes the published weights have, act on its channels. What the original leaves open, decided here:

- *Its layer scale is not handed to the SDTA encoder*, which always starts from 1e-6. Here both encoders get `layer_scale`, and
  0 means none in both; the published variants have 1e-6.
- *Its classifier dropout is demanded, other misspelt keywords are swallowed.* Here `dropout` has a default of 0.
- *The temperature of the attention is meant to take no weight decay*, but is named where no optimizer looks. Here it is exempt.
- *The position encoding is computed in float32*, also in a float64 network. Kept; float64 would change no output visibly.
- *The BN-HS variants are not only other norms and activations.* Their first norm in the SDTA encoder stands in front of the
  position encoding and of the residual branch, and their last norm in front of the pooling. Kept: it is their architecture.
"""
import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import GELU, Conv2D, DropPath, LayerNorm2D, Network, Stage, check_size


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1, bias=True):
    """Padded by half the kernel where it has a centre, else, in stem and downsampling, not at all."""
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2 if kernel % 2 else 0, groups=groups,
                  weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                  bias_attr=nn.initializer.Constant(0.0) if bias else False)


def norm2d(channels, bn_hs):
    return nn.BatchNorm2D(channels, epsilon=1e-5) if bn_hs else LayerNorm2D(channels, epsilon=1e-6)


def scaled(x, gamma):
    """Channel c of a map times gamma[c], or the map itself without a layer scale."""
    return x if gamma is None else x * gamma.reshape([-1, 1, 1])


def unit(x):
    """Vectors along the last axis, divided by their length; F.normalize cannot be traced into a .pdmodel."""
    return x / (x * x).sum(-1, keepdim=True).clip(1e-24).sqrt()


class Pointwise(nn.Linear):
    """A linear layer on the channels: (B, C, H, W) -> (B, C', H, W), (B, C, N) -> (B, C', N). Its weight is (C, C')."""

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                         bias_attr=nn.initializer.Constant(0.0))

    def forward(self, x):
        pixels = x.shape[2:]
        x = paddle.matmul(self.weight, x.flatten(2), transpose_x=True)  # (B, C', H*W)
        return (x + self.bias.unsqueeze(1)).reshape([0, 0, *pixels])


class PositionalEncodingFourier(nn.Layer):
    """Where a pixel is, for maps of any size: sines and cosines of its row and column, projected: (B, C, H, W) -> (C, H, W)."""

    def __init__(self, dim, waves=16, slowest=10000.0):
        super().__init__()
        self.frequencies = [slowest ** (-i / waves) for i in range(waves)]
        self.token_projection = conv2d(4 * waves, dim, 1)

    def _code(self, length):
        """Sine and cosine of each frequency in turn, at positions that end at 2 pi: (2 * waves, length)."""
        position = paddle.arange(1, length + 1, dtype='float32')
        position = position / (position[-1] + 1e-6) * (2 * math.pi)
        angles = paddle.to_tensor(self.frequencies, dtype='float32').unsqueeze(1) * position   # (waves, length)
        return paddle.stack([paddle.sin(angles), paddle.cos(angles)], axis=1).flatten(0, 1)

    def forward(self, x):
        H, W = x.shape[2:]
        rows = self._code(H).unsqueeze(2).expand([-1, -1, W])      # (2 * waves, H, W)
        columns = self._code(W).unsqueeze(1).expand([-1, H, -1])
        code = paddle.concat([rows, columns]).unsqueeze(0).astype(x.dtype)
        return self.token_projection(code).squeeze(0)


class XCA(nn.Layer):
    """Cross-covariance attention, https://arxiv.org/abs/2106.09681: (B, C, H, W) -> (B, C, H, W).

    Each channel attends to the channels of its head, by the cosine of the two over all pixels: linear in their number.
    """

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.temperature = self.create_parameter([heads, 1, 1], default_initializer=nn.initializer.Constant(1.0))
        self.qkv = Pointwise(dim, 3 * dim)
        self.proj = Pointwise(dim, dim)

    def forward(self, x):
        H, W = x.shape[2:]
        qkv = self.qkv(x.flatten(2))                               # (B, 3 * C, H*W)
        query, key, value = qkv.reshape([0, 3, self.heads, x.shape[1] // self.heads, -1]).unbind(1)  # (B, heads, c, H*W)
        query, key = unit(query), unit(key)
        # Not matmul(query, key, transpose_y=True): with a map of one pixel, oneDNN takes it for untransposed and reads garbage.
        attn = F.softmax(paddle.einsum('bhcn,bhdn->bhcd', query, key) * self.temperature)
        return self.proj((attn @ value).flatten(1, 2)).reshape([0, 0, H, W])


class Encoder(nn.Layer):
    """What both encoders end with: norm, inverted bottleneck, layer scale."""

    def add_bottleneck(self, dim, expansion, bn_hs, layer_scale, drop_path):
        self.gamma = self.layer_scale(dim, layer_scale)
        self.norm = norm2d(dim, bn_hs)
        self.pwconv1 = Pointwise(dim, expansion * dim)
        self.act = nn.Hardswish() if bn_hs else GELU()
        self.pwconv2 = Pointwise(expansion * dim, dim)
        self.drop_path = DropPath(drop_path)

    def layer_scale(self, dim, value):
        return self.create_parameter([dim], default_initializer=nn.initializer.Constant(value)) if value else None

    def bottleneck(self, x):
        """A normalized map -> what is added to the encoder's input."""
        return self.drop_path(scaled(self.pwconv2(self.act(self.pwconv1(x))), self.gamma))


class ConvEncoder(Encoder):
    """Depthwise convolution and inverted bottleneck, the local encoder: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, kernel, expansion, bn_hs, layer_scale, drop_path):
        super().__init__()
        self.dwconv = conv2d(dim, dim, kernel, groups=dim, bias=not bn_hs)
        self.add_bottleneck(dim, expansion, bn_hs, layer_scale, drop_path)

    def forward(self, x):
        return x + self.bottleneck(self.norm(self.dwconv(x)))


class SDTAEncoder(Encoder):
    """Split depthwise convolutions, transposed attention, inverted bottleneck: (B, C, H, W) -> (B, C, H, W).

    The channels are split into `scales` pieces, the last of which may be narrower. Each convolution takes a piece and the
    result of the one before, so that the receptive field grows from piece to piece; the last piece goes by untouched.
    """

    def __init__(self, dim, scales, heads, position, expansion, bn_hs, layer_scale, drop_path):
        super().__init__()
        width = math.ceil(dim / scales)
        self.widths = [width] * (scales - 1) + [dim - width * (scales - 1)]
        self.bn_hs = bn_hs
        self.gamma_xca = self.layer_scale(dim, layer_scale)
        self.convs = nn.LayerList([conv2d(width, width, 3, groups=width) for _ in range(scales - 1)])
        self.pos_embd = PositionalEncodingFourier(dim) if position else None
        self.norm_xca = norm2d(dim, bn_hs)
        self.xca = XCA(dim, heads)
        self.add_bottleneck(dim, expansion, bn_hs, layer_scale, drop_path)

    def mix(self, x):
        *pieces, rest = x.split(self.widths, axis=1)
        mixed = [self.convs[0](pieces[0])]
        for conv, piece in zip(self.convs[1:], pieces[1:]):
            mixed.append(conv(mixed[-1] + piece))
        return paddle.concat([*mixed, rest], axis=1)

    def attend(self, x):
        if self.bn_hs:
            x = self.norm_xca(x)                                   # also of what the attention is added to
        if self.pos_embd is not None:
            x = x + self.pos_embd(x)
        attended = self.xca(x if self.bn_hs else self.norm_xca(x))
        return x + self.drop_path(scaled(attended, self.gamma_xca))

    def forward(self, x):
        return x + self.bottleneck(self.norm(self.attend(self.mix(x))))


class EdgeNeXt(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W from 32 up.

    Stem and downsampling leave out the rows and columns at the end that fill no kernel.

    Args:
        dims, depths, kernels: per stage, the channels, the encoders, and the kernel of the convolution encoders.
        sdta: per stage, (how many of its encoders, the last ones, are SDTA encoders; scales; heads; position encoding or not).
        expansion: hidden channels / channels in every encoder.
        bn_hs: batch norm and hard-swish in place of layer norm and GELU, with the differences named above.
        layer_scale: initial factor of each residual branch, 0 for none. head_scale: of the classifier's initial weights.
        position: position encoding also behind the first stage.
        dropout: in front of the classifier. drop_path: of the last encoder, growing linearly from 0 at the first.
    """

    def __init__(self, num_classes, in_channels, dims, depths, kernels, sdta, expansion=4, bn_hs=False, layer_scale=1e-6,
                 head_scale=1.0, position=False, dropout=0.0, drop_path=0.0):
        super().__init__()
        self.bn_hs, self.head_scale = bn_hs, head_scale
        self.pos_embd = PositionalEncodingFourier(dims[0]) if position else None
        self.downsample_layers = nn.LayerList([                    # the first is the stem
            nn.Sequential(conv2d(in_channels, dims[0], 4, 4, bias=not bn_hs), norm2d(dims[0], bn_hs))])
        for before, after in zip(dims, dims[1:]):
            self.downsample_layers.append(nn.Sequential(norm2d(before, bn_hs), conv2d(before, after, 2, 2, bias=not bn_hs)))
        rates = [drop_path * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        self.stages = nn.LayerList()
        for dim, depth, kernel, (count, *attention) in zip(dims, depths, kernels, sdta):
            rest = [(expansion, bn_hs, layer_scale, rates.pop(0)) for _ in range(depth)]
            self.stages.append(Stage(
                *[ConvEncoder(dim, kernel, *rest[i]) for i in range(depth - count)],
                *[SDTAEncoder(dim, *attention, *rest[i]) for i in range(depth - count, depth)]))
        self.norm = nn.BatchNorm2D(dims[-1], epsilon=1e-5) if bn_hs else nn.LayerNorm(dims[-1], epsilon=1e-6)
        self.head_dropout = nn.Dropout(dropout)
        self.feature_channels = list(dims)
        self.feature_strides = [4 * 2 ** i for i in range(len(dims))]
        self.feature_layers = [[f'downsample_layers.{i}', f'stages.{i}'] for i in range(len(dims))]
        self.feature_layers[0].append('pos_embd')
        self.replace_classifier(num_classes)

    key_style = 'official'
    classifier_layers = ('head',)  # what a new number of classes replaces

    def no_weight_decay(self):
        """Names of parameters that take no weight decay, besides norms, biases and layer scales."""
        return {name for name, _ in self.named_parameters() if name.endswith('.temperature')}

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        check_size(x, self.feature_strides[-1], 'EdgeNeXt')
        maps = []
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            if i == 0 and self.pos_embd is not None:
                x = x + self.pos_embd(x)
            maps.append(x)
        return maps

    def forward_features(self, x):
        """Last map, (B, C, H/32, W/32), not yet normalized."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        if self.bn_hs:
            pooled = F.adaptive_avg_pool2d(self.norm(features), 1).flatten(1)
        else:
            pooled = self.norm(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return self.head(self.head_dropout(pooled))

    def replace_classifier(self, num_classes):
        self.head = nn.Linear(self.feature_channels[-1], num_classes, bias_attr=nn.initializer.Constant(0.0),
                              weight_attr=nn.initializer.TruncatedNormal(std=0.02 * self.head_scale))


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError where its parts do not fit."""
    model, edgenext, sdta = cfg.MODEL, cfg.MODEL.EDGENEXT, cfg.MODEL.EDGENEXT.SDTA
    _check(edgenext)
    return EdgeNeXt(
        num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, dims=edgenext.DIMS, depths=edgenext.DEPTHS,
        kernels=edgenext.KERNEL_SIZES, sdta=list(zip(sdta.BLOCKS, sdta.SCALES, sdta.HEADS, sdta.POSITION)),
        expansion=edgenext.EXPANSION, bn_hs=edgenext.BN_HS, layer_scale=edgenext.LAYER_SCALE_INIT,
        head_scale=edgenext.HEAD_INIT_SCALE, position=edgenext.POSITION, dropout=model.DROPOUT, drop_path=model.DROPPATH)


def _check(edgenext):
    """Raise UserError unless each stage's encoders can be built from the lists of MODEL.EDGENEXT."""
    sdta = edgenext.SDTA
    lengths = {key: len(edgenext[key]) for key in ('DIMS', 'DEPTHS', 'KERNEL_SIZES')}
    lengths.update({f'SDTA.{key}': len(column) for key, column in sdta.items()})
    if len(set(lengths.values())) > 1:
        raise UserError(f'the lists of MODEL.EDGENEXT differ in length: {lengths}; wanted one entry per stage in each')
    even = [kernel for kernel in edgenext.KERNEL_SIZES if kernel % 2 == 0]
    if even:
        raise UserError(f'MODEL.EDGENEXT.KERNEL_SIZES holds {even}; wanted odd numbers')
    stages = zip(edgenext.DIMS, edgenext.DEPTHS, sdta.BLOCKS, sdta.SCALES, sdta.HEADS)
    for i, (dim, depth, count, scales, heads) in enumerate(stages):
        if not 0 <= count <= depth:
            raise UserError(f'MODEL.EDGENEXT.SDTA.BLOCKS is {count} in stage {i}; wanted at most its {depth} encoders')
        if count and (scales < 2 or math.ceil(dim / scales) * (scales - 1) >= dim):
            raise UserError(f'MODEL.EDGENEXT.SDTA.SCALES is {scales} in stage {i}; wanted 2 or more, and few enough that '
                            f'pieces of its {dim} channels, rounded up, leave some for the last')
        if count and dim % heads:
            raise UserError(f'MODEL.EDGENEXT.SDTA.HEADS is {heads} in stage {i}; wanted a divisor of its {dim} channels')
