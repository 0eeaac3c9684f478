"""UniFormer, https://arxiv.org/abs/2201.09450. Sub-layers bear the names of the Sense-X/UniFormer checkpoints.

Both kinds of block have the same structure: dynamic position embedding (a depthwise convolution), multi-head relation
aggregator (MHRA) and feed-forward layer, each with a residual. In the two shallow stages the aggregator is local, a 5 x 5
depthwise convolution. In the two deep stages it is self-attention over the whole map. Surprises in the published code:

- *Layer scale is a global of the module*, so it stays on for the next network built. Here it is an argument. The published
  network has it in the global blocks only.
- *The patch stem accepts only one image size.* Nothing in it depends on the size, so any size from 32 x 32 works here. Rows and
  columns that do not fill a patch are cut off, as in UniFormer-Light. The convolutional stem takes every size.
- *There are two epsilons*: 1e-6 in the layer norms of blocks, 1e-5 in those of patch embeddings. The last norm is a batch norm.
  Kept.
- *Dropout acts after the stem, after attention and in the feed-forward layers, but not in front of the classifier.* Kept.
- *Position embeddings are meant to have no weight decay*, but are listed under a name that does not exist. So they do decay.
- *The representation layer cannot be built* (it uses the list of widths as a width). Left out.

The blocks are in `blocks.py`; UniFormer-Light, which prunes tokens, is in `light.py`.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import Network, Stage, check_size, drop_path_rates
from image_classification.uniformer.blocks import (CBlock, HeadEmbedding, MiddleEmbedding, PatchEmbed, SABlock,
                                                   linear)
from image_classification.uniformer.light import UniFormerLight


class UniFormer(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); H and W at least 32, or any with the convolutional stem.

    Args:
        depths, dims: blocks and channels of the four stages. head_dim: channels per attention head.
        qk_scale: factor of the attention scores; 0 means 1 / sqrt(head_dim).
        conv_stem: embed overlapping patches, also between stages.
        layer_scale: initial layer scale of the global blocks; 0 means none.
        dropout, drop_path, attn_dropout: probabilities, see `config.py`.
    """

    def __init__(self, num_classes=1000, in_channels=3, depths=(3, 4, 8, 3), dims=(64, 128, 320, 512), head_dim=64,
                 mlp_ratio=4.0, qkv_bias=True, qk_scale=0.0, conv_stem=False, layer_scale=0.0, dropout=0.0, drop_path=0.0,
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
                                    layer_scale) for rate in stage)) for dim, stage in zip(dims[2:], rates[2:]))
        self.norm = nn.BatchNorm2D(dims[3])
        self.head = linear(dims[3], num_classes)
        self.feature_channels, self.feature_strides = list(dims), [4, 8, 16, 32]

    feature_layers = [[f'patch_embed{i}', f'blocks{i}'] for i in range(1, 5)]
    key_style = 'official'
    classifier_layers = ('head',)  # what a new number of classes replaces

    def forward_intermediates(self, x):
        """List of maps, one per stage, in front of the last norm: `feature_channels`, `feature_strides`."""
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

    def replace_classifier(self, num_classes):
        self.head = linear(self.feature_channels[-1], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, uniformer = cfg.MODEL, cfg.MODEL.UNIFORMER
    _check(uniformer)
    values = {'num_classes': model.NUM_CLASSES, 'in_channels': model.IN_CHANNELS, 'depths': uniformer.DEPTHS,
              'dims': uniformer.DIMS, 'head_dim': uniformer.HEAD_DIM, 'mlp_ratio': uniformer.MLP_RATIO,
              'qkv_bias': uniformer.QKV_BIAS, 'qk_scale': uniformer.QK_SCALE, 'conv_stem': uniformer.CONV_STEM,
              'layer_scale': uniformer.LAYER_SCALE, 'dropout': model.DROPOUT, 'drop_path': model.DROPPATH,
              'attn_dropout': model.ATTENTION_DROPOUT}
    if not uniformer.LIGHT.ENABLED:
        return UniFormer(**values)
    return UniFormerLight(keep_ratio=uniformer.LIGHT.KEEP_RATIO, trade_off=uniformer.LIGHT.TRADE_OFF, **values)


def _check(uniformer):
    """Raise UserError unless MODEL.UNIFORMER has four stages with widths that heads and stem divide evenly."""
    for key, values in (('DEPTHS', uniformer.DEPTHS), ('DIMS', uniformer.DIMS)):
        if len(values) != 4:
            raise UserError(f'MODEL.UNIFORMER.{key} is {values}; wanted four numbers, one per stage')
    odd = [dim for dim in uniformer.DIMS[2:] if dim % uniformer.HEAD_DIM]
    if odd:
        raise UserError(f'MODEL.UNIFORMER.HEAD_DIM is {uniformer.HEAD_DIM}, which does not divide the widths {odd} of the '
                        'stages with attention; wanted a divisor')
    if uniformer.CONV_STEM and uniformer.DIMS[0] % 2:
        raise UserError(f'MODEL.UNIFORMER.DIMS starts with {uniformer.DIMS[0]}; wanted an even width: the first convolution of '
                        'the stem has half as many channels')
