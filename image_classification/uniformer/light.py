"""UniFormer-Light: UniFormer that prunes tokens like Evo-ViT, https://arxiv.org/abs/2108.01390.

Sub-layers bear the names of the Sense-X/UniFormer checkpoints.

A class token joins the two global stages. Its attention to the map's tokens, averaged over heads and blocks, is their score. In
every block but the first, only the better half of the tokens passes attention and the feed-forward layer, together with a
summary token: the mean of the others, weighted by their scores. The summary's update is added to every pruned token. Notes on
the published code:

- *It keeps the scores in a global of the module during a forward pass.* Here blocks pass them on, beside class token and map.
- *Training gives two outputs*, one from the pooled map and one from the class token. The second has its own norm and
  classifier, which evaluation does not use. Kept: (logits, logits of the class token) in training, logits in evaluation.
- *If a single token is pruned, its score is updated, too*: the summary is that token. Kept; the next selection depends on it.
- *The convolutional stem does not extend to the embeddings between stages*, unlike in UniFormer. Kept.
- *Local blocks have a layer scale, too*, and another one scales the update of pruned tokens. Kept; published weights have none.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import Network, Stage, check_size, drop_path_rates
from image_classification.uniformer.blocks import (CBlock, HeadEmbedding, PatchEmbed, SABlock, gamma,
                                                   linear, scaled)


def reorder(tokens, order):                                        # (B, N, C), (B, N)
    return paddle.take_along_axis(tokens, order.unsqueeze(-1), 1)  # (B, N, C)


def pool_scores(scores, height, width):
    """Scores for a map of half the size, with the same sum: (B, H*W) -> (B, H/2 * W/2), rounded down."""
    pooled = F.avg_pool2d(scores.reshape([0, 1, height, width]), 2, 2).flatten(1)
    return pooled * (scores.sum(1, keepdim=True) / pooled.sum(1, keepdim=True))


class EvoSABlock(SABlock):
    """Global block that attends to some tokens: class token (B, 1, C), map (B, C, H, W), scores (B, H*W) -> the same.

    `keep_ratio`: share of the tokens that it attends to, those with the best scores. 1 means all: the block then needs no
    scores and computes the first ones. `trade_off`: weight of this block's attention in the new scores. The other arguments are
    SABlock's.
    """

    def __init__(self, keep_ratio, trade_off, dim, *others, layer_scale):
        super().__init__(dim, *others, layer_scale)
        self.keep_ratio, self.trade_off = keep_ratio, trade_off
        self.gamma_3 = gamma(self, [dim], layer_scale) if keep_ratio < 1.0 else None

    def forward(self, cls_token, x, scores):
        x = x + self.pos_embed(x)
        H, W = x.shape[2:]
        tokens = x.flatten(2).transpose([0, 2, 1])                 # (B, H*W, C)
        if self.keep_ratio < 1.0:
            cls_token, tokens, scores = self._pruned(cls_token, tokens, scores)
        else:
            tokens, scores, _ = self._branches(paddle.concat([cls_token, tokens], 1))
            cls_token, tokens = tokens[:, :1], tokens[:, 1:]
        return cls_token, tokens.transpose([0, 2, 1]).reshape([0, 0, H, W]), scores

    def _branches(self, tokens):
        """Run both residual branches. Returns the new tokens (B, N, C), the first token's attention to the others (B, N - 1),
        and the update of the last token (B, 1, C)."""
        attended, weights = self.attn.attend(self.norm1(tokens))
        tokens = tokens + self.drop_path(scaled(attended, self.gamma_1))
        hidden = self.mlp(self.norm2(tokens))
        tokens = tokens + self.drop_path(scaled(hidden, self.gamma_2))
        return tokens, weights[:, :, 0, 1:].mean(1), attended[:, -1:] + hidden[:, -1:]

    def _pruned(self, cls_token, tokens, scores):
        # Stable sort, as in ONNX Runtime: in a fresh network all scores are equal, because the class token is 0.
        order = paddle.argsort(scores, 1, descending=True, stable=True)
        tokens, scores = reorder(tokens, order), reorder(scores.unsqueeze(-1), order)  # (B, N, C), (B, N, 1)
        kept = int(tokens.shape[1] * self.keep_ratio)
        rest, rest_scores = tokens[:, kept:], scores[:, kept:]
        summary = (rest_scores / rest_scores.sum(1, keepdim=True) * rest).sum(1, keepdim=True)  # (B, 1, C)
        some, attention, added = self._branches(paddle.concat([cls_token, tokens[:, :kept], summary], 1))
        attention = attention.unsqueeze(-1)                        # (B, kept + 1, 1), the last one for the summary
        kept_scores = scores[:, :kept]
        kept_scores = kept_scores + self.trade_off * (attention[:, :-1] - kept_scores)
        alone = 1 // rest.shape[1]                                 # 1 if only one token is pruned, else 0
        rest_scores = rest_scores + self.trade_off * alone * (attention[:, -1:] - rest_scores)
        back = paddle.argsort(order, 1)
        tokens = reorder(paddle.concat([some[:, 1:-1], rest + scaled(added, self.gamma_3)], 1), back)
        scores = reorder(paddle.concat([kept_scores, rest_scores], 1), back).squeeze(-1)
        return some[:, :1], tokens, scores


class UniFormerLight(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes), in training (logits, logits of the class token).

    H and W at least 32, with the convolutional stem 29.

    Args:
        keep_ratio, trade_off: see `EvoSABlock`; the first block of stage 3 keeps all tokens.
        layer_scale: initial layer scale of all blocks, 0: none. The others are UniFormer's.
    """

    def __init__(self, num_classes=1000, in_channels=3, depths=(2, 5, 8, 2), dims=(56, 112, 224, 448), head_dim=28,
                 mlp_ratio=3.0, qkv_bias=True, qk_scale=0.0, conv_stem=True, layer_scale=0.0, dropout=0.0, drop_path=0.0,
                 attn_dropout=0.0, keep_ratio=0.5, trade_off=0.5):
        super().__init__()
        self.least = 29 if conv_stem else 32                       # smallest side of an image: 8 pixels behind the stem
        self.cls_token = self.create_parameter([1, 1, dims[2]], default_initializer=nn.initializer.Constant(0.0))
        self.patch_embed1 = HeadEmbedding(in_channels, dims[0]) if conv_stem else PatchEmbed(in_channels, dims[0], 4)
        self.patch_embed2, self.patch_embed3, self.patch_embed4 = map(PatchEmbed, dims[:3], dims[1:], (2, 2, 2))
        self.cls_upsample = linear(dims[2], dims[3])
        self.pos_drop = nn.Dropout(dropout)
        rates = drop_path_rates(drop_path, depths)
        self.blocks1, self.blocks2 = (
            Stage(*(CBlock(dim, mlp_ratio, dropout, rate, layer_scale) for rate in stage))
            for dim, stage in zip(dims[:2], rates[:2]))
        keep = [[1.0] + [keep_ratio] * (depths[2] - 1), [keep_ratio] * depths[3]]
        self.blocks3, self.blocks4 = (
            Stage(*[EvoSABlock(ratio, trade_off, dim, dim // head_dim, mlp_ratio, qkv_bias, qk_scale, attn_dropout,
                                     dropout, rate, layer_scale=layer_scale) for ratio, rate in zip(ratios, stage)])
            for dim, ratios, stage in zip(dims[2:], keep, rates[2:]))
        self.norm = nn.BatchNorm2D(dims[3])
        self.norm_cls = nn.LayerNorm(dims[3], epsilon=1e-5)
        self.head = linear(dims[3], num_classes)
        self.head_cls = linear(dims[3], num_classes)
        self.feature_channels, self.feature_strides = list(dims), [4, 8, 16, 32]

    feature_layers = [['patch_embed1', 'blocks1'], ['patch_embed2', 'blocks2'], ['patch_embed3', 'cls_token', 'blocks3'],
                      ['patch_embed4', 'cls_upsample', 'blocks4']]
    key_style = 'official'
    engines_may_differ = ('The network keeps the tokens that score highest. Untrained, with a class token of 0, all score alike, and '
                          'each engine may keep others: export trained weights')
    classifier_layers = ('head', 'head_cls')  # what a new number of classes replaces

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms and biases."""
        return {'cls_token'}

    def _trunk(self, x):
        """The maps after each stage, and the class token (B, 1, C4)."""
        check_size(x, self.least, 'UniFormer-Light')
        first = self.blocks1(self.pos_drop(self.patch_embed1(x)))  # (B, C1, H/4, W/4)
        second = self.blocks2(self.patch_embed2(first))            # (B, C2, H/8, W/8)
        third = self.patch_embed3(second)                          # (B, C3, H/16, W/16)
        cls_token = self.cls_token.expand([x.shape[0], -1, -1])    # the batch stays symbolic under paddle.jit
        cls_token, third, scores = self.blocks3.outputs([len(self.blocks3) - 1], cls_token, third, None)[0]
        scores = pool_scores(scores, *third.shape[2:])
        cls_token, fourth = self.cls_upsample(cls_token), self.patch_embed4(third)  # (B, C4, H/32, W/32)
        cls_token, fourth, _ = self.blocks4.outputs([len(self.blocks4) - 1], cls_token, fourth, scores)[0]
        return [first, second, third, fourth], cls_token

    def forward_intermediates(self, x):
        """List of maps, one per stage, in front of the last norm: `feature_channels`, `feature_strides`."""
        return self._trunk(x)[0]

    def forward_features(self, x):
        """Last map, normalized, (B, C4, H/32, W/32), and class token (B, 1, C4). The head uses the token in training only."""
        maps, cls_token = self._trunk(x)
        return self.norm(maps[-1]), cls_token

    def forward_head(self, features):
        x, cls_token = features
        logits = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        if self.training:
            return self.with_auxiliary(logits, self.head_cls(self.norm_cls(cls_token[:, 0])))
        return logits

    def replace_classifier(self, num_classes):
        self.head, self.head_cls = (linear(self.feature_channels[-1], num_classes) for _ in range(2))
