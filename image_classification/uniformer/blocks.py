"""The blocks of UniFormer, https://arxiv.org/abs/2201.09450, and UniFormer-Light. See `model.py` for their peculiarities."""
from paddle import nn

from image_classification.cpu.attention import attended, attention_weights, split_by_part
from image_classification.cpu.convolution import conv_bn
from image_classification.layers import GELU, Conv2D, DropPath, Linear, gelu, pytorch_uniform


def linear(in_features, out_features, bias=True):
    return Linear(in_features, out_features, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                  bias_attr=nn.initializer.Constant(0.0) if bias else False)


def conv2d(in_channels, out_channels, kernel=1, stride=1, padding=0, groups=1):
    """A convolution with PyTorch's initialization: weight and bias uniform within 1 / sqrt(fan-in)."""
    uniform = pytorch_uniform(in_channels // groups * kernel * kernel)
    return Conv2D(in_channels, out_channels, kernel, stride, padding, groups=groups, weight_attr=uniform, bias_attr=uniform)


def gamma(layer, shape, value):
    """A layer scale for `layer`, initialised to `value`; None if `value` is 0."""
    return layer.create_parameter(shape, default_initializer=nn.initializer.Constant(value)) if value else None


def scaled(branch, factor):
    return branch if factor is None else factor * branch


class Mlp(nn.Layer):
    """Two layers with GELU between. `layer` makes them: `linear` for tokens (B, N, C), `conv2d` for maps (B, C, H, W)."""

    def __init__(self, layer, dim, ratio, dropout):
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = layer(dim, hidden)
        self.fc2 = layer(hidden, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(gelu(self.fc1(x)))))


class Attention(nn.Layer):
    """Multi-head self-attention: (B, N, C) -> (B, N, C). `qk_scale`: factor of the scores, 0 for 1 / sqrt(head size)."""

    def __init__(self, dim, heads, qkv_bias, qk_scale, attn_dropout, dropout):
        super().__init__()
        self.heads = heads
        self.scale = qk_scale or (dim // heads) ** -0.5
        self.qkv = linear(dim, 3 * dim, qkv_bias)
        self.attn_drop = nn.Dropout(attn_dropout)
        self.proj = linear(dim, dim)
        self.proj_drop = nn.Dropout(dropout)

    def attend(self, tokens):
        """The new tokens (B, N, C) and the attention weights (B, heads, N, N)."""
        query, key, value = split_by_part(self.qkv(tokens), self.heads)
        weights = attention_weights(query, key, self.scale)
        return self.proj_drop(self.proj(attended(self.attn_drop(weights), value))), weights

    def forward(self, tokens):
        return self.attend(tokens)[0]


class CBlock(nn.Layer):
    """Local block: (B, C, H, W) -> (B, C, H, W). `layer_scale`: initial layer scale, 0 for none."""

    def __init__(self, dim, mlp_ratio, dropout, drop_path, layer_scale=0.0):
        super().__init__()
        self.gamma_1 = gamma(self, [1, dim, 1, 1], layer_scale)
        self.gamma_2 = gamma(self, [1, dim, 1, 1], layer_scale)
        self.pos_embed = conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.BatchNorm2D(dim)
        self.conv1 = conv2d(dim, dim)
        self.conv2 = conv2d(dim, dim)
        self.attn = conv2d(dim, dim, 5, padding=2, groups=dim)     # local relations, between conv1 and conv2
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.BatchNorm2D(dim)
        self.mlp = Mlp(conv2d, dim, mlp_ratio, dropout)

    def forward(self, x):
        x = x + self.pos_embed(x)
        x = x + self.drop_path(scaled(self.conv2(self.attn(self.conv1(self.norm1(x)))), self.gamma_1))
        return x + self.drop_path(scaled(self.mlp(self.norm2(x)), self.gamma_2))


class SABlock(nn.Layer):
    """Global block: (B, C, H, W) -> (B, C, H, W). `layer_scale`: initial layer scale, 0 for none."""

    def __init__(self, dim, heads, mlp_ratio, qkv_bias, qk_scale, attn_dropout, dropout, drop_path, layer_scale):
        super().__init__()
        self.gamma_1 = gamma(self, [dim], layer_scale)
        self.gamma_2 = gamma(self, [dim], layer_scale)
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
    """Patches without overlap, then layer norm over channels: (B, C, H, W) -> (B, C', H / patch, W / patch), rounded down."""

    def __init__(self, in_channels, out_channels, patch):
        super().__init__()
        self.norm = nn.LayerNorm(out_channels, epsilon=1e-5)
        self.proj = conv2d(in_channels, out_channels, patch, stride=patch)

    def forward(self, x):
        tokens = self.proj(x).transpose([0, 2, 3, 1])              # (B, H', W', C')
        return self.norm(tokens).transpose([0, 3, 1, 2])           # (B, C', H', W')


class HeadEmbedding(nn.Layer):
    """Stem with overlapping patches from two convolutions: (B, C, H, W) -> (B, C', H / 4, W / 4), rounded up."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.proj = nn.Sequential(
            conv2d(in_channels, out_channels // 2, 3, stride=2, padding=1), nn.BatchNorm2D(out_channels // 2), GELU(),
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
