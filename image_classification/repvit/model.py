"""RepViT, https://arxiv.org/abs/2307.09283. Sub-layers bear the names of timm's `repvit_*` checkpoints.

MobileNetV3's block, split like a vision transformer's. The token mixer is a depthwise convolution, with squeeze-and-excitation
in every second block. The channel mixer is two 1x1 convolutions around GELU, with its own shortcut. The depthwise convolution
trains as three branches under one batch norm and runs as one convolution, see `reparameterize.py`.

- *Two classifiers.* The published weights were distilled: one classifier learned from the labels, the other from a teacher. The
  logits are the mean of both. As in timm, this is so in training, too, unless `distilled_training` is set. Then training gives
  (logits, logits for the teacher), as the authors' network does.
- *Downsampling* comes first in a stage: a block without squeeze-and-excitation, a strided depthwise convolution, a 1x1
  convolution, and a channel mixer.
- *The last batch norm of a channel mixer* is initialised to 0, so at first every block is its token mixer.
- *Stochastic depth* acts on the channel mixer's branch, where the authors' code has it with a rate of 0.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import (ChannelGates, DropPath, Stage, StagedNetwork, batch_norm, gelu, make_divisible,
                                         pytorch_conv2d, summed)
from image_classification.layers.conv_norm import ConvNorm, NormLinear


class RepVggDw(nn.Layer):
    """Batch norm of the sum of a 3x3 and a 1x1 depthwise convolution and the map itself: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim):
        super().__init__()
        self.conv = ConvNorm(dim, dim, 3, groups=dim)
        self.conv1 = pytorch_conv2d(dim, dim, 1, groups=dim, bias=True)
        self.bn = batch_norm(dim)

    def forward(self, x):
        return self.bn(summed(x, [self.conv, self.conv1]) + x)


class ChannelMixer(nn.Layer):
    """1x1 up, GELU, 1x1 down; the caller adds the result to the input: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, drop_path):
        super().__init__()
        self.conv1 = ConvNorm(dim, 2 * dim)
        self.conv2 = ConvNorm(2 * dim, dim, gain=0.0)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        return self.drop_path(self.conv2(gelu(self.conv1(x))))


class Block(nn.Layer):
    """Token mixer, then channel mixer with a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, squeeze, drop_path):
        super().__init__()
        self.token_mixer = RepVggDw(dim)
        self.se = ChannelGates(dim, make_divisible(dim / 4)) if squeeze else nn.Identity()
        self.channel_mixer = ChannelMixer(dim, drop_path)

    def forward(self, x):
        x = self.se(self.token_mixer(x))
        return x + self.channel_mixer(x)


class Downsample(nn.Layer):
    """(B, C, H, W) -> (B, out_dim, ceil(H / 2), ceil(W / 2))."""

    def __init__(self, dim, out_dim, drop_path):
        super().__init__()
        self.pre_block = Block(dim, False, drop_path)
        self.spatial_downsample = ConvNorm(dim, dim, 3, 2, groups=dim)
        self.channel_downsample = ConvNorm(dim, out_dim)
        self.ffn = ChannelMixer(out_dim, drop_path)

    def forward(self, x):
        x = self.channel_downsample(self.spatial_downsample(self.pre_block(x)))
        return x + self.ffn(x)


class StageOfBlocks(nn.Layer):
    """Downsampling (except in the first stage), then `len(rates)` blocks, every second one with gates."""

    def __init__(self, dim, out_dim, rates):
        super().__init__()
        self.downsample = Downsample(dim, out_dim, rates[0]) if dim != out_dim else nn.Identity()
        self.blocks = Stage(*[Block(out_dim, i % 2 == 0, rate) for i, rate in enumerate(rates)])

    def forward(self, x):
        return self.blocks(self.downsample(x))


class Stem(nn.Layer):
    """(B, C, H, W) -> (B, dim, ceil(H / 4), ceil(W / 4))."""

    def __init__(self, in_channels, dim):
        super().__init__()
        self.conv1 = ConvNorm(in_channels, dim // 2, 3, 2)
        self.conv2 = ConvNorm(dim // 2, dim, 3, 2)

    def forward(self, x):
        return self.conv2(gelu(self.conv1(x)))


class Classifier(nn.Layer):
    """(B, C) -> logits (B, classes), the mean of two linear layers or, without distillation, the output of one."""

    def __init__(self, dim, num_classes, distillation):
        super().__init__()
        self.head = NormLinear(dim, num_classes, 0.0)
        self.head_dist = NormLinear(dim, num_classes, 0.0) if distillation else None

    def both(self, x):
        """(logits, logits for the teacher)."""
        return self.head(x), self.head_dist(x)

    def forward(self, x):
        if self.head_dist is None:
            return self.head(x)
        logits, taught = self.both(x)
        return (logits + taught) / 2


class RepViT(StagedNetwork):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        dims, depths: channels and blocks of each stage; neighbouring stages need different channels.
        distillation: a second classifier; the logits are the mean of both.
        dropout: probability in front of the classifiers.
        drop_path: rate in the last block; it rises linearly from 0 in the first.
    """

    key_style = 'timm'
    classifier_layers = ('head',)  # what a new number of classes replaces
    distilled_training = False     # whether training returns the logits of both classifiers

    def __init__(self, num_classes=1000, in_channels=3, dims=(48, 96, 192, 384), depths=(2, 2, 14, 2), distillation=True,
                 dropout=0.0, drop_path=0.0):
        super().__init__()
        self.stem = Stem(in_channels, dims[0])
        rates = [drop_path * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        starts = [sum(depths[:i]) for i in range(len(depths))]
        self.stages = nn.LayerList([StageOfBlocks(before, dim, rates[start:start + depth]) for before, dim, start, depth in
                                    zip([dims[0], *dims], dims, starts, depths)])
        self.head_drop = nn.Dropout(dropout)
        self.distillation = distillation
        self.feature_channels, self.feature_strides = list(dims), [4 * 2 ** i for i in range(len(dims))]
        self.feature_layers = [[f'stages.{i}'] for i in range(len(dims))]
        self.feature_layers[0].insert(0, 'stem')
        self.replace_classifier(num_classes)

    def forward_head(self, features):
        pooled = self.head_drop(F.adaptive_avg_pool2d(features, 1).flatten(1))
        if self.training and self.distilled_training and self.distillation:
            return self.with_auxiliary(*self.head.both(pooled))
        return self.head(pooled)

    def replace_classifier(self, num_classes):
        self.head = Classifier(self.feature_channels[-1], num_classes, self.distillation)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, repvit = cfg.MODEL, cfg.MODEL.REPVIT
    if len(repvit.DIMS) != len(repvit.DEPTHS):
        raise UserError(f'MODEL.REPVIT.DIMS has {len(repvit.DIMS)} values, DEPTHS {len(repvit.DEPTHS)}; wanted one entry per '
                        'stage in each')
    if any(before == after for before, after in zip(repvit.DIMS, repvit.DIMS[1:])):
        raise UserError(f'MODEL.REPVIT.DIMS is {list(repvit.DIMS)}; wanted different channels in neighbouring stages')
    return RepViT(model.NUM_CLASSES, model.IN_CHANNELS, repvit.DIMS, repvit.DEPTHS, repvit.DISTILLATION, model.DROPOUT,
                  model.DROPPATH)
