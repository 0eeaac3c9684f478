"""FastViT, https://arxiv.org/abs/2303.14189. Sub-layers bear the names of timm's `fastvit_*` checkpoints.

A block mixes pixels, then channels. RepMixer mixes pixels by a depthwise 3x3 convolution, which trains as branches with a
shortcut and runs as one convolution. In SA12 the last stage has self-attention instead; a 7x7 depthwise convolution in front of
it encodes positions. Large kernels before the channel mixing and in each downsampling give a large receptive field without
attention.

- *Branches* are those of MobileOne, by the same authors: `MobileOneBlock` in `layers/reparameterized.py`. `reparameterize.py`
  merges them.
- *Downsampling* is the sum of a 7x7 and a 3x3 depthwise convolution of stride 2, then a 1x1 layer. The sum has no activation:
  the authors' code computes one there but drops its result.
- *After the last stage*, a depthwise layer doubles the channels and gates them, before the pooling.
- *Initial weights* of channel mixers, attention and classifier have a standard deviation of 0.02; the others are PyTorch's.
- *Stochastic depth*: the rate rises from 0 to 0.1 in SA12; T8, T12 and S12 have none.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.attention import attended, attention_weights, split_by_part
from image_classification.errors import UserError
from image_classification.layers import (ChannelGates, ConvAndNorm, DropPath, Linear, MobileOneBlock, Stage, StagedNetwork,
                                         batch_norm, gelu, pytorch_conv2d)

HEAD = 32                                                          # channels of an attention head


def small():
    """Initializer of the weights of most layers."""
    return nn.initializer.TruncatedNormal(std=0.02)


def linear(in_features, out_features, bias=True):
    return Linear(in_features, out_features, weight_attr=small(),
                  bias_attr=nn.initializer.Constant(0.0) if bias else False)


class Layer(MobileOneBlock):
    """Branches, optional gates, GELU: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1, gated=False):
        super().__init__(in_channels, out_channels, kernel, stride, groups)
        self.se = ChannelGates(out_channels, out_channels // 16) if gated else nn.Identity()

    def forward(self, x):
        return gelu(self.se(self.mixed(x)))


class Branches(MobileOneBlock):
    """Branches without gates and activation: (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, x):
        return self.mixed(x)


class LayerScale(nn.Layer):
    """Multiplies each channel by a learnt factor: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, value):
        super().__init__()
        self.gamma = self.create_parameter([dim, 1, 1], default_initializer=nn.initializer.Constant(value))

    def forward(self, x):
        return x * self.gamma


class RepMixer(nn.Layer):
    """Depthwise mixing of pixels with a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, layer_scale):
        super().__init__()
        self.norm = Branches(dim, dim, 3, 1, dim, branches=0, scale=False)   # only a batch norm
        self.mixer = Branches(dim, dim, 3, 1, dim)
        self.layer_scale = LayerScale(dim, layer_scale)

    def forward(self, x):
        return x + self.layer_scale(self.mixer(x) - self.norm(x))


class ConvMlp(nn.Layer):
    """7x7 depthwise convolution, 1x1 up, GELU, 1x1 down: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, expansion):
        super().__init__()
        self.conv = ConvAndNorm(dim, dim, 7, groups=dim, init=small())
        self.fc1 = pytorch_conv2d(dim, expansion * dim, 1, bias=True, init=small())
        self.fc2 = pytorch_conv2d(expansion * dim, dim, 1, bias=True, init=small())
        for layer in (self.fc1, self.fc2):
            nn.initializer.Constant(0.0)(layer.bias)

    def forward(self, x):
        return self.fc2(gelu(self.fc1(self.conv(x))))


class Attention(nn.Layer):
    """Self-attention among all pixels: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim):
        super().__init__()
        self.heads = dim // HEAD
        self.qkv = linear(dim, 3 * dim, bias=False)
        self.proj = linear(dim, dim)

    def attend(self, x):
        """The new map (B, C, H, W) and the attention weights (B, heads, H*W, H*W)."""
        H, W = x.shape[2:]
        tokens = x.flatten(2).transpose([0, 2, 1])                 # (B, N, C)
        query, key, value = split_by_part(self.qkv(tokens), self.heads)
        weights = attention_weights(query, key, HEAD ** -0.5)
        mixed = self.proj(attended(weights, value))                # (B, N, C)
        return mixed.transpose([0, 2, 1]).reshape([0, 0, H, W]), weights

    def forward(self, x):
        return self.attend(x)[0]


class RepMixerBlock(nn.Layer):
    """(B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, expansion, layer_scale, drop_path):
        super().__init__()
        self.token_mixer = RepMixer(dim, layer_scale)
        self.mlp = ConvMlp(dim, expansion)
        self.layer_scale = LayerScale(dim, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        x = self.token_mixer(x)
        return x + self.drop_path(self.layer_scale(self.mlp(x)))


class AttentionBlock(nn.Layer):
    """(B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, expansion, layer_scale, drop_path):
        super().__init__()
        self.norm = batch_norm(dim)
        self.token_mixer = Attention(dim)
        self.layer_scale_1 = LayerScale(dim, layer_scale)
        self.mlp = ConvMlp(dim, expansion)
        self.layer_scale_2 = LayerScale(dim, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        x = x + self.drop_path(self.layer_scale_1(self.token_mixer(self.norm(x))))
        return x + self.drop_path(self.layer_scale_2(self.mlp(x)))


class LargeKernel(nn.Layer):
    """7x7 and 3x3 depthwise convolution of stride 2, summed: (B, C, H, W) -> (B, C', ceil(H / 2), ceil(W / 2))."""

    def __init__(self, dim, out_dim):
        super().__init__()
        self.large_conv = ConvAndNorm(dim, out_dim, 7, 2, dim)
        self.small_conv = ConvAndNorm(dim, out_dim, 3, 2, dim)

    def forward(self, x):
        return self.large_conv(x) + self.small_conv(x)


class PatchEmbed(nn.Layer):
    """Downsampling: (B, C, H, W) -> (B, C', ceil(H / 2), ceil(W / 2))."""

    def __init__(self, dim, out_dim):
        super().__init__()
        self.proj = nn.Sequential(LargeKernel(dim, out_dim), Layer(out_dim, out_dim, 1))

    def forward(self, x):
        return self.proj(x)


class PositionEncoding(nn.Layer):
    """Adds a 7x7 depthwise convolution, whose zero padding marks the borders: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim):
        super().__init__()
        self.pos_enc = pytorch_conv2d(dim, dim, 7, groups=dim, bias=True)

    def forward(self, x):
        return self.pos_enc(x) + x


class StageOfBlocks(nn.Layer):
    """Optional downsampling, then one block for each drop-path rate in `rates`."""

    def __init__(self, dim, out_dim, expansion, layer_scale, rates, downsamples, attends):
        super().__init__()
        block = AttentionBlock if attends else RepMixerBlock
        self.downsample = PatchEmbed(dim, out_dim) if downsamples else nn.Identity()
        self.pos_emb = PositionEncoding(out_dim) if attends else nn.Identity()
        self.blocks = Stage(*[block(out_dim, expansion, layer_scale, rate) for rate in rates])

    def forward(self, x):
        return self.blocks(self.pos_emb(self.downsample(x)))


class FastViT(StagedNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        dims, depths: channels and blocks of each stage.
        expansion: hidden channels / channels of every block.
        attention: whether the last stage has self-attention.
        layer_scale: initial factor of each residual branch.
        dropout: probability in front of the classifier. drop_path: rate in the last block; it rises linearly from 0.
    """

    key_style = 'timm'
    classifier_layers = ('head',)  # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, dims=(48, 96, 192, 384), depths=(2, 2, 4, 2), expansion=3,
                 attention=False, layer_scale=1e-5, dropout=0.0, drop_path=0.0):
        super().__init__()
        first, last = dims[0], len(dims) - 1
        self.stem = nn.Sequential(Layer(in_channels, first, 3, 2), Layer(first, first, 3, 2, first), Layer(first, first, 1))
        rates = [drop_path * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        starts = [sum(depths[:i]) for i in range(len(depths))]
        self.stages = nn.LayerList([
            StageOfBlocks(dims[max(i - 1, 0)], dim, expansion, layer_scale, rates[start:start + depth], i > 0,
                          attention and i == last)
            for i, (dim, depth, start) in enumerate(zip(dims, depths, starts))])
        self.final_conv = Layer(dims[-1], 2 * dims[-1], 3, 1, dims[-1], gated=True)
        self.head = nn.Sequential(('drop', nn.Dropout(dropout)), ('fc', linear(2 * dims[-1], num_classes)))
        self.feature_channels, self.feature_strides = list(dims), [4 * 2 ** i for i in range(len(dims))]
        self.feature_layers = [[f'stages.{i}'] for i in range(len(dims))]
        self.feature_layers[0].insert(0, 'stem')

    def forward_features(self, x):
        """Last map (B, 2 * C, H/32, W/32), after the gates."""
        return self.final_conv(self.forward_intermediates(x)[-1])

    def forward_head(self, features):
        return self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))

    def replace_classifier(self, num_classes):
        self.head.fc = linear(2 * self.feature_channels[-1], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, fastvit = cfg.MODEL, cfg.MODEL.FASTVIT
    dims = fastvit.DIMS
    if len(dims) != len(fastvit.DEPTHS):
        raise UserError(f'MODEL.FASTVIT.DIMS has {len(dims)} values, DEPTHS {len(fastvit.DEPTHS)}; wanted one entry per stage '
                        'in each')
    if any(after % before for before, after in zip(dims, dims[1:])) or dims[-1] % HEAD:
        raise UserError(f'MODEL.FASTVIT.DIMS is {list(dims)}; wanted multiples of the channels of the stage before, and of '
                        f'{HEAD} in the last stage')
    return FastViT(model.NUM_CLASSES, model.IN_CHANNELS, dims, fastvit.DEPTHS, fastvit.EXPANSION, fastvit.ATTENTION,
                   fastvit.LAYER_SCALE_INIT, model.DROPOUT, model.DROPPATH)
