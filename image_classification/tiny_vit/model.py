"""TinyViT, https://arxiv.org/abs/2207.10666. Sub-layers bear the names of the authors' checkpoints (microsoft/Cream, TinyViT).

Inverted bottlenecks first, then three stages of attention within windows, with a learnt bias for each distance. A depthwise
convolution between attention and MLP passes information between neighbouring windows.

- *Windows have a fixed size*, independent of the image. Other maps are padded with zeros below and to the right. This happens
  before the norm, so padding takes part in the attention. The authors' networks for 384 and 512 pixels have larger windows:
  `WINDOWS` 12, 24, 12 and 16, 32, 16.
- *A downsampling ends a stage* in the authors' names. In timm's names and in the feature maps here, it begins the next stage.
- *The originals' `eval()` caches the attention biases, so weights loaded afterwards have no effect.* Here nothing is cached.
- *Stochastic depth* (`DROPPATH`): the rate rises linearly from 0 in the first block. `DROPOUT` acts in front of the classifier,
  as in timm. The authors have it in the MLPs, with a rate of 0.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.cpu.attention import attended, attention_weights, split_by_head
from image_classification.layers import GELU, DropPath, LayerNorm, Linear, Network, Stage, drop_path_rates, gelu
from image_classification.layers.conv_norm import ConvNorm
from image_classification.layers.position_bias import PositionBias, bias_tables

EXPANSION, MLP_RATIO = 4, 4                                        # hidden channels / channels, of bottleneck and MLP


def linear(in_features, out_features):
    return Linear(in_features, out_features, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                  bias_attr=nn.initializer.Constant(0.0))


class PatchEmbed(nn.Layer):
    """Two convolutions of stride 2: (B, C, H, W) -> (B, out_channels, ceil(H / 4), ceil(W / 4))."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        half = out_channels // 2
        self.seq = nn.Sequential(ConvNorm(in_channels, half, 3, 2), GELU(), ConvNorm(half, out_channels, 3, 2))

    def forward(self, x):
        return self.seq(x)


class MBConv(nn.Layer):
    """Inverted bottleneck, also with GELU after the residual sum: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, drop_path):
        super().__init__()
        hidden = EXPANSION * channels
        self.conv1 = ConvNorm(channels, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, channels, gain=0.0)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        y = self.conv3(gelu(self.conv2(gelu(self.conv1(x)))))
        return gelu(x + self.drop_path(y))


class PatchMerging(nn.Layer):
    """1x1, 3x3 depthwise of stride 2, 1x1: (B, C, H, W) -> (B, out_channels, ceil(H / 2), ceil(W / 2))."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels)
        self.conv2 = ConvNorm(out_channels, out_channels, 3, 2, groups=out_channels)
        self.conv3 = ConvNorm(out_channels, out_channels)

    def forward(self, x):
        return self.conv3(gelu(self.conv2(gelu(self.conv1(x)))))


class Mlp(nn.Layer):
    """Layer norm, then two linear layers and GELU between: (..., C) -> (..., C)."""

    def __init__(self, channels):
        super().__init__()
        self.norm = LayerNorm(channels, epsilon=1e-5)
        self.fc1 = linear(channels, MLP_RATIO * channels)
        self.fc2 = linear(MLP_RATIO * channels, channels)

    def forward(self, x):
        return self.fc2(gelu(self.fc1(self.norm(x))))


class Attention(PositionBias):
    """Layer norm, then attention among the N = window ** 2 pixels of each window: (windows, N, C) -> (windows, N, C)."""

    def __init__(self, channels, heads, window):
        super().__init__(heads, window)
        self.scale = (channels // heads) ** -0.5
        self.norm = LayerNorm(channels, epsilon=1e-5)
        self.qkv = linear(channels, 3 * channels)
        self.proj = linear(channels, channels)

    def parts(self, qkv):
        """Query, key and value of (windows, N, 3 * C)."""
        return split_by_head(qkv, self.heads, [qkv.shape[2] // (3 * self.heads)] * 3)

    def forward(self, x):
        query, key, value = self.parts(self.qkv(self.norm(x)))
        return self.proj(attended(attention_weights(query, key, self.scale, self.biases(self.side, self.side)), value))


class TinyViTBlock(nn.Layer):
    """Attention within windows, a depthwise convolution, an MLP: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, channels, heads, window, drop_path):
        super().__init__()
        self.channels, self.window = channels, window
        self.attn = Attention(channels, heads, window)
        self.local_conv = ConvNorm(channels, channels, 3, groups=channels)
        self.mlp = Mlp(channels)
        self.drop_path = DropPath(drop_path)

    def padded(self, x, below, right):
        """Append rows and columns of zeros."""
        return F.pad(x, [0, right, 0, below], data_format='NHWC')

    def within_windows(self, x):
        """Apply attention to each window separately."""
        w, c = self.window, self.channels
        height, width = x.shape[1:3]
        rows, columns = (height + w - 1) // w, (width + w - 1) // w
        x = self.padded(x, rows * w - height, columns * w - width)
        x = x.reshape([-1, rows, w, columns, w * c]).transpose([0, 1, 3, 2, 4])      # (B, rows, columns, w, w * C)
        x = self.attn(x.reshape([-1, w * w, c]))
        x = x.reshape([-1, rows, columns, w, w * c]).transpose([0, 1, 3, 2, 4])      # (B, rows, w, columns, w * C)
        return x.reshape([-1, rows * w, columns * w, c])[:, :height, :width]

    def forward(self, x):
        x = x + self.drop_path(self.within_windows(x))
        x = self.local_conv(x.transpose([0, 3, 1, 2])).transpose([0, 2, 3, 1])
        return x + self.drop_path(self.mlp(x))


class Layer(nn.Layer):
    """Blocks, then an optional downsampling, which the network calls. Blocks with attention get (B, H, W, C)."""

    def __init__(self, blocks, downsample=None):
        super().__init__()
        self.blocks = Stage(*blocks)
        self.by_pixels = isinstance(blocks[0], TinyViTBlock)
        if downsample:
            self.downsample = downsample

    def forward(self, x):                                          # (B, C, H, W)
        return self.blocks(x.transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2]) if self.by_pixels else self.blocks(x)


class TinyViT(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        dims, depths: one number per stage. num_heads, windows: one per stage after the first, see `config.py`.
        dropout: probability in front of the classifier. drop_path: rate in the last block; it rises linearly from 0.
    """

    key_style = 'official'
    classifier_layers = ('head',)  # what a new number of classes replaces
    derived_entries = ('attention_bias_idxs',)                     # in some published files, but computed here
    feature_strides = [4, 8, 16, 32]
    feature_layers = [['patch_embed', 'layers.0.blocks'], ['layers.0.downsample', 'layers.1.blocks'],
                      ['layers.1.downsample', 'layers.2.blocks'], ['layers.2.downsample', 'layers.3']]

    def __init__(self, num_classes, in_channels, dims, depths, num_heads, windows, dropout=0.0, drop_path=0.0):
        super().__init__()
        self.patch_embed = PatchEmbed(in_channels, dims[0])
        rates = drop_path_rates(drop_path, depths)
        stages = [[MBConv(dims[0], rate) for rate in rates[0]]]
        for channels, heads, window, each in zip(dims[1:], num_heads, windows, rates[1:]):
            stages.append([TinyViTBlock(channels, heads, window, rate) for rate in each])
        merging = [*(PatchMerging(before, after) for before, after in zip(dims, dims[1:])), None]
        self.layers = nn.LayerList([Layer(blocks, downsample) for blocks, downsample in zip(stages, merging)])
        self.norm_head = LayerNorm(dims[-1], epsilon=1e-5)
        self.dropout = nn.Dropout(dropout)
        self.head = linear(dims[-1], num_classes)
        self.feature_channels = list(dims)

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms and biases."""
        return bias_tables(self)

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        maps = [self.layers[0](self.patch_embed(x))]
        for before, layer in zip(self.layers, self.layers[1:]):
            maps.append(layer(before.downsample(maps[-1])))
        return maps

    def forward_features(self, x):
        """The last map (B, C, H / 32, W / 32)."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        pooled = self.norm_head(F.adaptive_avg_pool2d(features, 1).flatten(1))  # (B, C)
        return self.head(self.dropout(pooled))

    def replace_classifier(self, num_classes):
        self.head = linear(self.feature_channels[-1], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, vit = cfg.MODEL, cfg.MODEL.TINYVIT
    for channels, heads in zip(vit.DIMS[1:], vit.NUM_HEADS):
        if channels % heads:
            raise UserError(f'MODEL.TINYVIT.NUM_HEADS has {heads} for a stage of {channels} channels; wanted a divisor')
    return TinyViT(model.NUM_CLASSES, model.IN_CHANNELS, vit.DIMS, vit.DEPTHS, vit.NUM_HEADS, vit.WINDOWS, model.DROPOUT,
                   model.DROPPATH)
