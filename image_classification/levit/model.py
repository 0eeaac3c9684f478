"""LeViT, https://arxiv.org/abs/2104.01136. Sub-layers bear the names of the authors' checkpoints (facebookresearch/LeViT).

A transformer in the shape of a convolutional network: four convolutions first, then attention on ever smaller maps. Each linear
layer has a batch norm that can be folded into it for evaluation. Where the sources differ, this network is built as follows:

- *Attention biases belong to a map of 14 x 14 pixels, that of 224 x 224 images*, and the originals accept no other. Here every
  size works: distances beyond the table count as its largest distance. `SIDE` makes a network with biases for another map;
  timm's argument is `img_size`, sixteen times as much.
- *The originals' `eval()` caches the attention biases, so weights loaded afterwards have no effect.* Here nothing is cached.
- *Two classifiers* (`DISTILLED`): training gives the logits of both, evaluation their mean. The authors' second classifier
  learns a teacher's answers. The trainer here treats it as an auxiliary head.
- *The attention that halves the map has no shortcut.* Its last batch norm is initialised to one, as by the authors; timm uses
  zero.
- *Stochastic depth* (`DROPPATH`) has the same rate in every block. `DROPOUT` acts in front of the classifiers, as in timm.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.cpu.attention import attended, attention_weights, split_by_head
from image_classification.layers import Hardswish, Network, Stage, by_level, pytorch_uniform
from image_classification.layers.conv_norm import NormLinear, Residual, constant, each_output, finer_levels, patch_embedding
from image_classification.layers.position_bias import PositionBias, bias_tables

RATIO, DOWN_RATIO = 2, 4                                           # channels of a value / of a key; DOWN: if the map is halved
MLP_RATIO = 2                                                      # hidden channels / channels of an MLP


class LinearNorm(nn.Sequential):
    """Linear layer without bias, then batch norm: (B, H, W, C) -> (B, H, W, out_channels)."""

    def __init__(self, in_channels, out_channels, gain=1.0):
        linear = nn.Linear(in_channels, out_channels, weight_attr=pytorch_uniform(in_channels), bias_attr=False)
        super().__init__(('c', linear), ('bn', nn.BatchNorm1D(out_channels, momentum=0.9, epsilon=1e-5, weight_attr=constant(gain))))
        self.channels = out_channels

    def forward(self, x):
        height, width = x.shape[1:3]
        return self.bn(self.c(x.flatten(0, 2))).reshape([-1, height, width, self.channels])


class Attention(PositionBias):
    """Attention among all pixels of a map, with a learnt bias for each distance: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, channels, key_dim, heads, side):
        super().__init__(heads, side)
        self.scale = key_dim ** -0.5
        self.parts = [key_dim, key_dim, RATIO * key_dim]           # query, key, value
        self.qkv = LinearNorm(channels, heads * sum(self.parts))
        self.proj = nn.Sequential(Hardswish(), LinearNorm(heads * self.parts[2], channels, gain=0.0))

    def forward(self, x):
        height, width = x.shape[1:3]
        query, key, value = split_by_head(self.qkv(x).flatten(1, 2), self.heads, self.parts)
        x = attended(attention_weights(query, key, self.scale, self.biases(height, width)), value)
        return self.proj(x.reshape([-1, height, width, self.heads * self.parts[2]]))


class Subsample(nn.Layer):
    """Every second pixel: (B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), C)."""

    def forward(self, x):
        return x[:, ::2, ::2]


class AttentionSubsample(PositionBias):
    """Attention in which only every second pixel is a query: (B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), C')."""

    def __init__(self, in_channels, out_channels, key_dim, heads, side):
        super().__init__(heads, side, stride=2)
        self.scale = key_dim ** -0.5
        self.parts = [key_dim, DOWN_RATIO * key_dim]               # key, value
        self.kv = LinearNorm(in_channels, heads * sum(self.parts))
        self.q = nn.Sequential(Subsample(), LinearNorm(in_channels, heads * key_dim))
        self.proj = nn.Sequential(Hardswish(), LinearNorm(heads * self.parts[1], out_channels))

    def forward(self, x):
        height, width = x.shape[1:3]
        key, value = split_by_head(self.kv(x).flatten(1, 2), self.heads, self.parts)
        y = self.q(x)                                              # (B, H', W', heads * key_dim)
        rows, columns = y.shape[1:3]
        query, = split_by_head(y.flatten(1, 2), self.heads, self.parts[:1])
        x = attended(attention_weights(query, key, self.scale, self.biases(height, width)), value)
        return self.proj(x.reshape([-1, rows, columns, self.heads * self.parts[1]]))


def mlp(channels):
    hidden = MLP_RATIO * channels
    return nn.Sequential(LinearNorm(channels, hidden), Hardswish(), LinearNorm(hidden, channels, gain=0.0))


class LeViT(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    With `distilled`, training gives (logits, logits of the classifier that learns from a teacher), evaluation their mean.
    Args:
        dims, depths, num_heads: one number per stage, see `config.py`.
        key_dim: channels of a head's query and key.
        side: pixels on a side of the first stage's map that the attention biases fit.
        dropout: probability in front of the classifiers. drop_path: probability that a sample skips a residual branch.
    """

    key_style = 'official'
    derived_entries = ('attention_bias_idxs',)                     # in published files, but computed here

    def __init__(self, num_classes, in_channels, dims, depths, num_heads, key_dim, side=14, distilled=True, dropout=0.0,
                 drop_path=0.0):
        super().__init__()
        self.patch_embed = patch_embedding(in_channels, dims[0], Hardswish)
        blocks, self.levels = [], []
        for i, (channels, depth, heads) in enumerate(zip(dims, depths, num_heads)):
            if i > 0:
                before = dims[i - 1]
                blocks += [AttentionSubsample(before, channels, key_dim, before // key_dim, side), Residual(mlp(channels), drop_path)]
                side = -(-side // 2)
            for _ in range(depth):
                blocks += [Residual(Attention(channels, key_dim, heads, side), drop_path), Residual(mlp(channels), drop_path)]
            self.levels.append(len(blocks) - 1)                    # the last block of each stage
        self.blocks = Stage(*blocks)
        self.distilled = distilled
        self.head = NormLinear(dims[-1], num_classes, dropout)
        if distilled:
            self.head_dist = NormLinear(dims[-1], num_classes, dropout)
        self.feature_channels, self.feature_strides = list(dims), [16, 32, 64]
        self.feature_layers = by_level(self.levels, [[f'blocks.{i}'] for i in range(len(blocks))])
        self.feature_layers[0] += ['patch_embed']
        self.finer_levels, self.finer_channels, self.finer_strides = finer_levels(dims[0])

    @property
    def classifier_layers(self):
        """The layers that a new number of classes replaces."""
        return ('head.l', 'head_dist.l') if self.distilled else ('head.l',)

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms and biases."""
        return bias_tables(self)

    def _stages(self, x):
        """The maps (B, C, H, W) of the stages, from the map of the patch embedding."""
        maps = self.blocks.outputs(self.levels, x.transpose([0, 2, 3, 1]))   # (B, H, W, C)
        return [m.transpose([0, 3, 1, 2]) for m in maps]

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        return self._stages(self.patch_embed(x))

    def forward_finer(self, x):
        """List of maps: those of the patch embedding (`finer_strides`), then those of the stages."""
        maps = each_output(self.patch_embed, x)
        return [*(maps[i] for i in self.finer_levels), *self._stages(maps[-1])]

    def forward_features(self, x):
        """The last map (B, C, H / 64, W / 64)."""
        return self.blocks(self.patch_embed(x).transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2])

    def forward_head(self, features):
        pooled = F.adaptive_avg_pool2d(features, 1).flatten(1)     # (B, C)
        return self.of_two_heads(self.head(pooled), self.head_dist(pooled)) if self.distilled else self.head(pooled)

    def replace_classifier(self, num_classes):
        """Put in fresh classifiers."""
        self.head.replace(num_classes)
        if self.distilled:
            self.head_dist.replace(num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, levit = cfg.MODEL, cfg.MODEL.LEVIT
    for channels in levit.DIMS[:2]:
        if channels % levit.KEY_DIM:
            raise UserError(f'MODEL.LEVIT.DIMS has {channels}; wanted a multiple of KEY_DIM {levit.KEY_DIM}, for the heads between '
                            'the stages')
    if levit.DIMS[0] % 8:
        raise UserError(f'MODEL.LEVIT.DIMS begins with {levit.DIMS[0]}; wanted a multiple of 8 for the patch embedding')
    return LeViT(model.NUM_CLASSES, model.IN_CHANNELS, levit.DIMS, levit.DEPTHS, levit.NUM_HEADS, levit.KEY_DIM, levit.SIDE,
                 model.DISTILLED, model.DROPOUT, model.DROPPATH)
