"""SHViT, https://arxiv.org/abs/2401.16456. Sub-layers bear the names of the authors' checkpoints (ysj9909/SHViT).

Four convolutions first, then three stages on maps of stride 16 and more. Attention has a single head and uses only some of the
channels. The other channels bypass it, and one projection mixes both. The first stage has no attention.

- *The layers between two stages* are those of EfficientViT-M, and so is the patch embedding.
- *The input of the attention is normalized over all pixels and channels of an image*, by a group norm with one group.
- *Stochastic depth* (`DROPPATH`) has the same rate in every block; in the authors' code it is 0. `DROPOUT` acts between the
  classifier's batch norm and linear layer; in timm it acts in front of both.
- *The authors' code optionally has a second classifier for distillation.* No published weights have it, nor do these networks.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import Network, Stage
from image_classification.layers.conv_norm import (FFN, ConvNorm, NormLinear, Residual, each_output, finer_levels, merging,
                                                   patch_embedding)

KEY_DIM = 16                                                       # channels of query and key


class SHSA(nn.Layer):
    """Single-head self-attention of the first `attended` channels, and a projection of all: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, attended):
        super().__init__()
        self.scale = KEY_DIM ** -0.5
        self.shares = [attended, channels - attended]              # channels with attention, and without
        self.parts = [KEY_DIM, KEY_DIM, attended]                  # query, key, value
        self.pre_norm = nn.GroupNorm(1, attended, epsilon=1e-5)
        self.qkv = ConvNorm(attended, sum(self.parts))
        self.proj = nn.Sequential(nn.ReLU(), ConvNorm(channels, channels, gain=0.0))

    def weights(self, query, key):
        """Attention weights (B, H*W, H*W), from queries and keys (B, d, H, W)."""
        return F.softmax(paddle.matmul(query.flatten(2) * self.scale, key.flatten(2), transpose_x=True))

    def forward(self, x):
        height, width = x.shape[2:]
        seen, past = x.split(self.shares, axis=1)
        query, key, value = self.qkv(self.pre_norm(seen)).split(self.parts, axis=1)
        seen = paddle.matmul(value.flatten(2), self.weights(query, key), transpose_y=True)   # (B, attended, H*W)
        seen = seen.reshape([-1, self.shares[0], height, width])
        return self.proj(paddle.concat([seen, past], axis=1))


class BasicBlock(nn.Layer):
    """Depthwise convolution, attention (if `attended`), FFN, each with a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, attended, drop_path):
        super().__init__()
        self.conv = Residual(ConvNorm(channels, channels, 3, groups=channels, gain=0.0), drop_path)
        self.mixer = Residual(SHSA(channels, attended), drop_path) if attended else nn.Identity()
        self.ffn = Residual(FFN(channels), drop_path)

    def forward(self, x):
        return self.ffn(self.mixer(self.conv(x)))


class SHViT(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        dims, depths, attended: one number per stage, see `config.py`.
        dropout: probability in front of the classifier. drop_path: probability that a sample skips a residual branch.
    """

    key_style = 'official'
    classifier_layers = ('head.l',)  # what a new number of classes replaces
    feature_strides = [16, 32, 64]
    feature_layers = [['patch_embed', 'blocks1'], ['blocks2'], ['blocks3']]

    def __init__(self, num_classes, in_channels, dims, depths, attended, dropout=0.0, drop_path=0.0):
        super().__init__()
        self.patch_embed = patch_embedding(in_channels, dims[0])
        stages = []
        for i, (channels, depth, seen) in enumerate(zip(dims, depths, attended)):
            before = merging(dims[i - 1], channels) if i > 0 else []
            stages.append(Stage(*before, *(BasicBlock(channels, seen, drop_path) for _ in range(depth))))
        self.blocks1, self.blocks2, self.blocks3 = stages
        self.head = NormLinear(dims[-1], num_classes, dropout)
        self.feature_channels = list(dims)
        self.finer_levels, self.finer_channels, self.finer_strides = finer_levels(dims[0])

    def _stages(self, x):
        """The maps of the stages, from the map of the patch embedding."""
        return each_output((self.blocks1, self.blocks2, self.blocks3), x)

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        return self._stages(self.patch_embed(x))

    def forward_finer(self, x):
        """List of maps: those of the patch embedding (`finer_strides`), then those of the stages."""
        maps = each_output(self.patch_embed, x)
        return [*(maps[i] for i in self.finer_levels), *self._stages(maps[-1])]

    def forward_features(self, x):
        """The last map (B, C, H / 64, W / 64)."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))

    def replace_classifier(self, num_classes):
        self.head.replace(num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, vit = cfg.MODEL, cfg.MODEL.SHVIT
    for channels, attended in zip(vit.DIMS, vit.ATTENDED):
        if attended >= channels:
            raise UserError(f'MODEL.SHVIT.ATTENDED has {attended} for a stage of {channels} channels; wanted fewer than that')
    if vit.DIMS[0] % 8:
        raise UserError(f'MODEL.SHVIT.DIMS begins with {vit.DIMS[0]}; wanted a multiple of 8 for the patch embedding')
    return SHViT(model.NUM_CLASSES, model.IN_CHANNELS, vit.DIMS, vit.DEPTHS, vit.ATTENDED, model.DROPOUT, model.DROPPATH)
