"""EdgeNeXt, https://arxiv.org/abs/2206.10589. Sub-layers bear the names of the mmaaz60/EdgeNeXt checkpoints.

Maps are (B, C, H, W) throughout. Attention runs over channels, so queries, keys and values are slices of a map. The linear
layers keep the shapes of the published weights and act on the channels of a map. Differences from the original code:

- *It does not pass its layer scale to the SDTA encoder*, which always starts from 1e-6. Here both encoders get `layer_scale`,
  and 0 means none in both. The published variants use 1e-6.
- *It requires a classifier dropout and silently ignores misspelt keywords.* Here `dropout` defaults to 0.
- *It lists the attention temperature as free of weight decay* in a place that no optimizer reads. Here it is exempt.
- *It computes the position encoding in float32*, also in a float64 network. Kept; float64 would not visibly change any output.
- *Its BN-HS variants differ in more than norms and activations.* In the SDTA encoder, the first norm comes before the position
  encoding and the residual branch, and the last norm of the network comes before the pooling. Kept: this is their architecture.
"""
import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.convolution import linear_on_channels
from image_classification.errors import UserError
from image_classification.layers import (GELU, Conv2D, DropPath, Hardswish, LayerNorm, LayerNorm2D, Network, Stage, check_size,
                                         of_length_one)


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1, bias=True):
    """A convolution. Odd kernels are padded by half their size; the even ones of stem and downsampling are not padded."""
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2 if kernel % 2 else 0, groups=groups,
                  weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                  bias_attr=nn.initializer.Constant(0.0) if bias else False)


def norm2d(channels, bn_hs):
    return nn.BatchNorm2D(channels, epsilon=1e-5) if bn_hs else LayerNorm2D(channels, epsilon=1e-6)


class Pointwise(nn.Linear):
    """A linear layer on the channels: (B, C, H, W) -> (B, C', H, W), (B, C, N) -> (B, C', N). Its weight is (C, C')."""

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                         bias_attr=nn.initializer.Constant(0.0))

    def forward(self, x, gamma=None):
        """With `gamma`, a layer scale (C'), channel c is multiplied by gamma[c]: on the weights, which are smaller than maps."""
        weight, bias = (self.weight, self.bias) if gamma is None else (self.weight * gamma, self.bias * gamma)
        return linear_on_channels(x.flatten(2), weight, bias).reshape([0, 0, *x.shape[2:]])


class PositionalEncodingFourier(nn.Layer):
    """Position encoding for maps of any size, projected sines and cosines of row and column: (B, C, H, W) -> (C, H, W)."""

    def __init__(self, dim, waves=16, slowest=10000.0):
        super().__init__()
        self.frequencies = [slowest ** (-i / waves) for i in range(waves)]
        self.token_projection = conv2d(4 * waves, dim, 1)

    def _code(self, length):
        """Sines and cosines, alternating, of each frequency at `length` positions up to 2 pi: (2 * waves, length)."""
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

    Each channel attends to the channels of its head by their cosine similarity over all pixels. Cost is linear in the pixels.
    `gamma`: a layer scale (C) or None, see `Pointwise`.
    """

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.temperature = self.create_parameter([heads, 1, 1], default_initializer=nn.initializer.Constant(1.0))
        self.qkv = Pointwise(dim, 3 * dim)
        self.proj = Pointwise(dim, dim)

    def forward(self, x, gamma=None):
        H, W = x.shape[2:]
        qkv = self.qkv(x.flatten(2))                               # (B, 3 * C, H*W)
        query, key, value = qkv.reshape([0, 3, self.heads, x.shape[1] // self.heads, -1]).unbind(1)  # (B, heads, c, H*W)
        query, key = of_length_one(query), of_length_one(key)
        # Not matmul(query, key, transpose_y=True): on a map of one pixel, oneDNN ignores the transposition and reads garbage.
        attn = F.softmax(paddle.einsum('bhcn,bhdn->bhcd', query, key) * self.temperature)
        return self.proj((attn @ value).flatten(1, 2), gamma).reshape([0, 0, H, W])


class Encoder(nn.Layer):
    """The common end of both encoders: norm, inverted bottleneck, layer scale."""

    def add_bottleneck(self, dim, expansion, bn_hs, layer_scale, drop_path):
        self.gamma = self.layer_scale(dim, layer_scale)
        self.norm = norm2d(dim, bn_hs)
        self.pwconv1 = Pointwise(dim, expansion * dim)
        self.act = Hardswish() if bn_hs else GELU()
        self.pwconv2 = Pointwise(expansion * dim, dim)
        self.drop_path = DropPath(drop_path)

    def layer_scale(self, dim, value):
        return self.create_parameter([dim], default_initializer=nn.initializer.Constant(value)) if value else None

    def bottleneck(self, x):
        """From a normalized map, the update that is added to the encoder's input."""
        return self.drop_path(self.pwconv2(self.act(self.pwconv1(x)), self.gamma))


class ConvEncoder(Encoder):
    """The local encoder, a depthwise convolution and an inverted bottleneck: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, kernel, expansion, bn_hs, layer_scale, drop_path):
        super().__init__()
        self.dwconv = conv2d(dim, dim, kernel, groups=dim, bias=not bn_hs)
        self.add_bottleneck(dim, expansion, bn_hs, layer_scale, drop_path)

    def forward(self, x):
        return x + self.bottleneck(self.norm(self.dwconv(x)))


class SDTAEncoder(Encoder):
    """Split depthwise convolutions, transposed attention, inverted bottleneck: (B, C, H, W) -> (B, C, H, W).

    The channels are split into `scales` pieces; the last may be narrower. Each convolution takes the sum of a piece and the
    previous convolution's output, so the receptive field grows from piece to piece. The last piece is not convolved.
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
            x = self.norm_xca(x)                                   # also the input of the residual sum
        if self.pos_embd is not None:
            x = x + self.pos_embd(x)
        return x + self.drop_path(self.xca(x if self.bn_hs else self.norm_xca(x), self.gamma_xca))

    def forward(self, x):
        return x + self.bottleneck(self.norm(self.attend(self.mix(x))))


class EdgeNeXt(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W of at least 32.

    Stem and downsampling ignore the last rows and columns if they do not fill a kernel.

    Args:
        dims, depths, kernels: per stage, the channels, the number of encoders, and the kernel of the convolution encoders.
        sdta: per stage, (number of SDTA encoders, the last ones of the stage; scales; heads; whether to encode positions).
        expansion: hidden channels / channels of every encoder.
        bn_hs: batch norm and hard-swish instead of layer norm and GELU, with the differences named above.
        layer_scale: initial factor of each residual branch, 0 for none. head_scale: factor of the classifier's initial weights.
        position: whether to encode positions behind the first stage, too.
        dropout: probability in front of the classifier. drop_path: rate in the last encoder; it rises linearly from 0.
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
        self.norm = nn.BatchNorm2D(dims[-1], epsilon=1e-5) if bn_hs else LayerNorm(dims[-1], epsilon=1e-6)
        self.head_dropout = nn.Dropout(dropout)
        self.feature_channels = list(dims)
        self.feature_strides = [4 * 2 ** i for i in range(len(dims))]
        self.feature_layers = [[f'downsample_layers.{i}', f'stages.{i}'] for i in range(len(dims))]
        self.feature_layers[0].append('pos_embd')
        self.replace_classifier(num_classes)

    key_style = 'official'
    classifier_layers = ('head',)  # what a new number of classes replaces

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms, biases and layer scales."""
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
        """Last map (B, C, H/32, W/32), in front of the last norm."""
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
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, edgenext, sdta = cfg.MODEL, cfg.MODEL.EDGENEXT, cfg.MODEL.EDGENEXT.SDTA
    _check(edgenext)
    return EdgeNeXt(
        num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, dims=edgenext.DIMS, depths=edgenext.DEPTHS,
        kernels=edgenext.KERNEL_SIZES, sdta=list(zip(sdta.BLOCKS, sdta.SCALES, sdta.HEADS, sdta.POSITION)),
        expansion=edgenext.EXPANSION, bn_hs=edgenext.BN_HS, layer_scale=edgenext.LAYER_SCALE_INIT,
        head_scale=edgenext.HEAD_INIT_SCALE, position=edgenext.POSITION, dropout=model.DROPOUT, drop_path=model.DROPPATH)


def _check(edgenext):
    """Raise UserError unless the encoders of all stages can be built from the lists of MODEL.EDGENEXT."""
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
