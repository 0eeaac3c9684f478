"""UniFormer, https://arxiv.org/abs/2201.09450. Sub-layers bear the names of the Sense-X/UniFormer checkpoints.

Two kinds of block with one frame: dynamic position embedding (a depthwise convolution), multi-head relation aggregator (MHRA),
feed-forward layer, each with a residual. In the two shallow stages the aggregator is local, a 5 x 5 depthwise convolution; in
the two deep ones it is self-attention over the whole map. What the published code does differently from what one expects:

- *Layer scale is a global of the module*, which stays on for the next network built. Here an argument. The published network
  has it in the global blocks only.
- *The patch stem insists on one image size.* Nothing in it depends on the size, so here any size from 32 x 32 goes; rows and
  columns that do not fill a patch are cut off, as in UniFormer-Light. The convolutional stem takes every size.
- *Two epsilons*: 1e-6 in the blocks' layer norms, 1e-5 in the patch embeddings'. The last norm is a batch norm. Kept.
- *Dropout acts after the stem, after attention and in the feed-forward layers, not in front of the classifier.* Kept.
- *Position embeddings are listed among the parameters without weight decay*, under a name that none has; they do decay.
- *The representation layer cannot be built* (it takes the list of widths for a width). Left out.

UniFormer-Light, which prunes tokens, is in `light.py`.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import Conv2D, DropPath, Network, Stage, check_size, pytorch_uniform
from image_classification.layers import conv_bn


def linear(in_features, out_features, bias=True):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                     bias_attr=nn.initializer.Constant(0.0) if bias else False)


def conv2d(in_channels, out_channels, kernel=1, stride=1, padding=0, groups=1):
    """With PyTorch's initialization: weight and bias uniform within 1 / sqrt(fan-in)."""
    uniform = pytorch_uniform(in_channels // groups * kernel * kernel)
    return Conv2D(in_channels, out_channels, kernel, stride, padding, groups=groups, weight_attr=uniform, bias_attr=uniform)


def layer_scale(layer, shape, value):
    """A parameter gamma of `layer` that starts as `value`; None for 0, no layer scale."""
    return layer.create_parameter(shape, default_initializer=nn.initializer.Constant(value)) if value else None


def scaled(branch, gamma):
    return branch if gamma is None else gamma * branch


def drop_path_rates(rate, depths):
    """Rising evenly from 0 in the first block to `rate` in the last: one list per stage."""
    rates = [rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
    return [rates[sum(depths[:i]):sum(depths[:i + 1])] for i in range(len(depths))]


class Mlp(nn.Layer):
    """Two layers, made by `layer(in, out)`, and GELU between: `linear` for tokens (B, N, C), `conv2d` for maps (B, C, H, W)."""

    def __init__(self, layer, dim, ratio, dropout):
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = layer(dim, hidden)
        self.fc2 = layer(hidden, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class Attention(nn.Layer):
    """Multi-head self-attention: (B, N, C) -> (B, N, C). `qk_scale` 0: by 1 / sqrt(head size)."""

    def __init__(self, dim, heads, qkv_bias, qk_scale, attn_dropout, dropout):
        super().__init__()
        self.heads = heads
        self.scale = qk_scale or (dim // heads) ** -0.5
        self.qkv = linear(dim, 3 * dim, qkv_bias)
        self.attn_drop = nn.Dropout(attn_dropout)
        self.proj = linear(dim, dim)
        self.proj_drop = nn.Dropout(dropout)

    def attend(self, tokens):
        """The new tokens and how much each attends to each: (B, N, C), (B, heads, N, N)."""
        query, key, value = (part.reshape([0, 0, self.heads, part.shape[2] // self.heads])
                             for part in self.qkv(tokens).chunk(3, axis=-1))     # (B, N, heads, c)
        query, key = query.transpose([0, 2, 1, 3]), key.transpose([0, 2, 3, 1])  # (B, heads, N, c), (B, heads, c, N)
        weights = F.softmax(query * self.scale @ key)              # (B, heads, N, N)
        out = self.attn_drop(weights) @ value.transpose([0, 2, 1, 3])
        out = out.transpose([0, 2, 1, 3]).flatten(2)               # (B, N, C)
        return self.proj_drop(self.proj(out)), weights

    def forward(self, tokens):
        return self.attend(tokens)[0]


class CBlock(nn.Layer):
    """Local block: (B, C, H, W) -> (B, C, H, W). `init_scale`: initial layer scale, 0 for none."""

    def __init__(self, dim, mlp_ratio, dropout, drop_path, init_scale=0.0):
        super().__init__()
        self.gamma_1 = layer_scale(self, [1, dim, 1, 1], init_scale)
        self.gamma_2 = layer_scale(self, [1, dim, 1, 1], init_scale)
        self.pos_embed = conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.BatchNorm2D(dim)
        self.conv1 = conv2d(dim, dim)
        self.conv2 = conv2d(dim, dim)
        self.attn = conv2d(dim, dim, 5, padding=2, groups=dim)     # between conv1 and conv2: the local relations
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.BatchNorm2D(dim)
        self.mlp = Mlp(conv2d, dim, mlp_ratio, dropout)

    def forward(self, x):
        x = x + self.pos_embed(x)
        x = x + self.drop_path(scaled(self.conv2(self.attn(self.conv1(self.norm1(x)))), self.gamma_1))
        return x + self.drop_path(scaled(self.mlp(self.norm2(x)), self.gamma_2))


class SABlock(nn.Layer):
    """Global block: (B, C, H, W) -> (B, C, H, W). `init_scale`: initial layer scale, 0 for none."""

    def __init__(self, dim, heads, mlp_ratio, qkv_bias, qk_scale, attn_dropout, dropout, drop_path, init_scale):
        super().__init__()
        self.gamma_1 = layer_scale(self, [dim], init_scale)
        self.gamma_2 = layer_scale(self, [dim], init_scale)
        self.pos_embed = conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim, epsilon=1e-6)
        self.attn = Attention(dim, heads, qkv_bias, qk_scale, attn_dropout, dropout)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, epsilon=1e-6)
        self.mlp = Mlp(linear, dim, mlp_ratio, dropout)

    def forward(self, x):
        x = x + self.pos_embed(x)
        H, W = x.shape[2:]
        tokens = x.flatten(2).transpose([0, 2, 1])                 # (B, H*W, C)
        tokens = tokens + self.drop_path(scaled(self.attn(self.norm1(tokens)), self.gamma_1))
        tokens = tokens + self.drop_path(scaled(self.mlp(self.norm2(tokens)), self.gamma_2))
        return tokens.transpose([0, 2, 1]).reshape([0, 0, H, W])   # (B, C, H, W)


class PatchEmbed(nn.Layer):
    """Patches side by side, then layer norm over channels: (B, C, H, W) -> (B, C', H / patch, W / patch), rounded down."""

    def __init__(self, in_channels, out_channels, patch):
        super().__init__()
        self.norm = nn.LayerNorm(out_channels, epsilon=1e-5)
        self.proj = conv2d(in_channels, out_channels, patch, stride=patch)

    def forward(self, x):
        tokens = self.proj(x).transpose([0, 2, 3, 1])              # (B, H', W', C')
        return self.norm(tokens).transpose([0, 3, 1, 2])           # (B, C', H', W')


class HeadEmbedding(nn.Layer):
    """Stem of overlapping patches, two convolutions: (B, C, H, W) -> (B, C', H / 4, W / 4), rounded up."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.proj = nn.Sequential(
            conv2d(in_channels, out_channels // 2, 3, stride=2, padding=1), nn.BatchNorm2D(out_channels // 2), nn.GELU(),
            conv2d(out_channels // 2, out_channels, 3, stride=2, padding=1), nn.BatchNorm2D(out_channels))

    def forward(self, x):
        conv1, norm1, act, conv2, norm2 = self.proj
        return conv_bn(act(conv_bn(x, conv1, norm1)), conv2, norm2)


class MiddleEmbedding(nn.Layer):
    """Overlapping patches between stages: (B, C, H, W) -> (B, C', H / 2, W / 2), rounded up."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.proj = nn.Sequential(conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.BatchNorm2D(out_channels))

    def forward(self, x):
        return conv_bn(x, *self.proj)


class UniFormer(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); H and W at least 32, with the convolutional stem any.

    Args:
        depths, dims: blocks and channels of the four stages. head_dim: channels per attention head.
        qk_scale: factor of the attention scores, 0: 1 / sqrt(head_dim).
        conv_stem: embed overlapping patches, also between stages.
        init_scale: initial layer scale of the global blocks, 0: none.
        dropout, drop_path, attn_dropout: probabilities, see `config.py`.
    """

    def __init__(self, num_classes=1000, in_channels=3, depths=(3, 4, 8, 3), dims=(64, 128, 320, 512), head_dim=64,
                 mlp_ratio=4.0, qkv_bias=True, qk_scale=0.0, conv_stem=False, init_scale=0.0, dropout=0.0, drop_path=0.0,
                 attn_dropout=0.0):
        super().__init__()
        self.least = 1 if conv_stem else 32                        # smallest side of an image
        if conv_stem:
            self.patch_embed1 = HeadEmbedding(in_channels, dims[0])
            self.patch_embed2, self.patch_embed3, self.patch_embed4 = map(MiddleEmbedding, dims[:3], dims[1:])
        else:
            self.patch_embed1 = PatchEmbed(in_channels, dims[0], 4)
            self.patch_embed2, self.patch_embed3, self.patch_embed4 = map(PatchEmbed, dims[:3], dims[1:], (2, 2, 2))
        self.pos_drop = nn.Dropout(dropout)
        rates = drop_path_rates(drop_path, depths)
        self.blocks1, self.blocks2 = (Stage(*(CBlock(dim, mlp_ratio, dropout, rate) for rate in stage))
                                      for dim, stage in zip(dims[:2], rates[:2]))
        self.blocks3, self.blocks4 = (
            Stage(*(SABlock(dim, dim // head_dim, mlp_ratio, qkv_bias, qk_scale, attn_dropout, dropout, rate,
                                    init_scale) for rate in stage)) for dim, stage in zip(dims[2:], rates[2:]))
        self.norm = nn.BatchNorm2D(dims[3])
        self.head = linear(dims[3], num_classes)
        self.feature_channels, self.feature_strides = list(dims), [4, 8, 16, 32]

    classifier_layers = ('head',)  # what a new number of classes replaces

    def forward_intermediates(self, x):
        """List of maps, the last of each stage, in front of the last norm: `feature_channels`, `feature_strides`."""
        check_size(x, self.least, 'UniFormer')
        first = self.blocks1(self.pos_drop(self.patch_embed1(x)))  # (B, C1, H/4, W/4)
        second = self.blocks2(self.patch_embed2(first))            # (B, C2, H/8, W/8)
        third = self.blocks3(self.patch_embed3(second))            # (B, C3, H/16, W/16)
        fourth = self.blocks4(self.patch_embed4(third))            # (B, C4, H/32, W/32)
        return [first, second, third, fourth]

    def forward_features(self, x):
        """Last map, normalized: (B, C4, H/32, W/32)."""
        return self.norm(self.forward_intermediates(x)[-1])

    def forward_head(self, features):
        return self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))

    def reset_classifier(self, num_classes):
        self.head = linear(self.feature_channels[-1], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError where its parts do not fit."""
    model, uniformer = cfg.MODEL, cfg.MODEL.UNIFORMER
    _check(uniformer)
    values = {'num_classes': model.NUM_CLASSES, 'in_channels': model.IN_CHANNELS, 'depths': uniformer.DEPTHS,
              'dims': uniformer.DIMS, 'head_dim': uniformer.HEAD_DIM, 'mlp_ratio': uniformer.MLP_RATIO,
              'qkv_bias': uniformer.QKV_BIAS, 'qk_scale': uniformer.QK_SCALE, 'conv_stem': uniformer.CONV_STEM,
              'init_scale': uniformer.LAYER_SCALE, 'dropout': model.DROPOUT, 'drop_path': model.DROPPATH,
              'attn_dropout': model.ATTENTION_DROPOUT}
    if not uniformer.LIGHT.ENABLED:
        return UniFormer(**values)
    from image_classification.uniformer.light import UniFormerLight  # here, since light.py takes its blocks from this module
    return UniFormerLight(keep_ratio=uniformer.LIGHT.KEEP_RATIO, trade_off=uniformer.LIGHT.TRADE_OFF, **values)


def _check(uniformer):
    """Raise UserError unless MODEL.UNIFORMER has four stages whose widths the heads and the stem can divide."""
    for key, values in (('DEPTHS', uniformer.DEPTHS), ('DIMS', uniformer.DIMS)):
        if len(values) != 4:
            raise UserError(f'MODEL.UNIFORMER.{key} is {values}; wanted four numbers, one per stage')
    odd = [dim for dim in uniformer.DIMS[2:] if dim % uniformer.HEAD_DIM]
    if odd:
        raise UserError(f'MODEL.UNIFORMER.HEAD_DIM is {uniformer.HEAD_DIM}, which does not divide the widths {odd} of the '
                        'stages with attention; wanted a divisor')
    if uniformer.CONV_STEM and uniformer.DIMS[0] % 2:
        raise UserError(f'MODEL.UNIFORMER.DIMS starts with {uniformer.DIMS[0]}; wanted an even width, of which the first '
                        'convolution of the stem makes half')
    for key, value in (('KEEP_RATIO', uniformer.LIGHT.KEEP_RATIO), ('TRADE_OFF', uniformer.LIGHT.TRADE_OFF)):
        if not 0.0 <= value <= 1.0:
            raise UserError(f'MODEL.UNIFORMER.LIGHT.{key} is {value}; wanted a share, 0 to 1')
