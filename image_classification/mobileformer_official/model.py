"""Mobile-Former, https://arxiv.org/abs/2108.05895, as its authors published it. Only this form has ImageNet weights.

Parameters bear the names of the AAboys/MobileFormer checkpoints. The network differs from `mobileformer`, which follows the
original tutorial code in Paddle. It processes a map (B, C, H, W) and a few tokens (B, T, D) in parallel. Details that the paper
does not mention:

- *Tokens are normalized after each residual sum*, not before. Their self-attention uses them as keys and values without a
  projection. It has 4 heads; the bridges have 2.
- *The bridge to the tokens is gated*: its result is multiplied by twice a hard sigmoid of the tokens.
- *A dynamic ReLU has no offsets*: max(a1 * x, a2 * x) with a1 in 0..2 and a2 in -1..1, both computed from token 0.
- *With grouped 1x1 convolutions (26M)*, channels are shuffled after them and after each widening depthwise convolution.
- *The bias of the keys in the bridge to the map* has no effect: it shifts all scores of a softmax equally. It is kept because
  the checkpoints contain it.
- *Stochastic depth* drops whole samples here. The authors' code puts the tokens' axis first and so drops one token of all
  samples; their recipes do not use it.
- *The head has a batch norm over pooled vectors*, so a training batch needs at least two images.
"""
from math import lcm, sqrt

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import (Conv2D, DropPath, Hardswish, LayerNorm, Network, Stage, by_level, channel_shuffle,
                                         dynamic_relu, hardswish, levels_of, merge_heads, read_map, softmax_of_tokens,
                                         split_heads)


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Normal(0.0, 0.01),
                     bias_attr=nn.initializer.Constant(0.0))


def conv2d(in_channels, out_channels, kernel=1, stride=1, groups=1):
    std = sqrt(2 / (kernel * kernel * out_channels))               # regardless of the groups
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias_attr=False,
                  weight_attr=nn.initializer.Normal(0.0, std))


def hard_sigmoid(x):
    """0 below -3, 1 above 3. Paddle's own has a slope of 0.1666667, too coarse for float64."""
    return F.relu6(x + 3.0) / 6.0


class Tokens(nn.Layer):
    """The learnt tokens, the same for each image: (B, ...) -> (B, T, D). It is called with the images because Paddle's
    quantisation wraps each layer in an observer of its inputs, through which `weight` cannot be read."""

    def __init__(self, count, width):
        super().__init__()
        self.weight = self.create_parameter([count, width], attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, 1.0)))

    def forward(self, x):
        return self.weight.unsqueeze(0).expand([x.shape[0], -1, -1])  # B stays symbolic under paddle.jit


class ChannelShuffle(nn.Layer):
    """Channel i of group g becomes channel g of group i: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        return channel_shuffle(x, self.groups)


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, then `after`: (B, C, H, W) -> (B, C', H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride, groups, *after):
        conv = conv2d(in_channels, out_channels, kernel, stride, groups)
        super().__init__(conv, nn.BatchNorm2D(out_channels), *after)


class HyperFunction(nn.Layer):
    """Computes the slopes of a dynamic ReLU from token 0: (B, T, D) -> 2 x (B, C, 1, 1)."""

    def __init__(self, token_dim, channels, reduction):
        super().__init__()
        hidden = token_dim // reduction
        self.hyper = nn.Sequential(linear(token_dim, hidden), nn.ReLU(), linear(hidden, 2 * channels))

    def forward(self, tokens):
        slopes = 2.0 * hard_sigmoid(self.hyper(tokens[:, 0]))      # (B, 2C)
        first, second = slopes.unsqueeze([2, 3]).chunk(2, axis=1)
        return first, second - 1.0


class LocalToGlobal(nn.Layer):
    """The tokens query the map, which is both key and value: (B, C, H, W), (B, T, D) -> tokens, scores (B, heads, T, H, W).

    The scores show which pixels each token attends to. The network itself does not use them.
    """

    def __init__(self, channels, token_dim, heads, drop_path):
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.alpha = nn.Sequential(linear(token_dim, channels))
        self.q = linear(token_dim, channels)
        self.proj = linear(channels, token_dim)
        self.layer_norm = LayerNorm(token_dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x, tokens):
        B, C, H, W = x.shape
        keys = x.reshape([0, self.heads, C // self.heads, -1])     # (B, heads, c, H*W)
        scores = split_heads(self.q(tokens), self.heads) * self.scale @ keys  # (B, heads, T, H*W)
        gathered = merge_heads(read_map(F.softmax(scores), keys))  # (B, T, C)
        gate = 2.0 * hard_sigmoid(self.alpha(tokens))
        tokens = self.layer_norm(tokens + self.drop_path(self.proj(gathered * gate)))
        return tokens, scores.reshape([0, 0, 0, H, W])


class GlobalBlock(nn.Layer):
    """A post-norm transformer block; the tokens are also keys and values, without a projection: (B, T, D) -> (B, T, D)."""

    def __init__(self, token_dim, heads, mlp_ratio, drop_path):
        super().__init__()
        self.heads = heads
        self.scale = (token_dim // heads) ** -0.5
        self.ffn = nn.Sequential(linear(token_dim, mlp_ratio * token_dim), nn.GELU(), linear(mlp_ratio * token_dim, token_dim))
        self.ffn_norm = LayerNorm(token_dim)
        self.q = linear(token_dim, token_dim)
        self.channel_mlp = linear(token_dim, token_dim)
        self.layer_norm = LayerNorm(token_dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens):
        keys = split_heads(tokens, self.heads)                     # (B, heads, T, d)
        query = split_heads(self.q(tokens), self.heads) * self.scale
        attn = F.softmax(paddle.matmul(query, keys, transpose_y=True))  # (B, heads, T, T)
        tokens = self.layer_norm(tokens + self.drop_path(self.channel_mlp(merge_heads(attn @ keys))))
        return self.ffn_norm(tokens + self.ffn(tokens))


class GlobalToLocal(nn.Layer):
    """The map queries the tokens: (B, C, H, W), (B, T, D) -> (B, C, H, W)."""

    softmax = staticmethod(softmax_of_tokens)

    def __init__(self, channels, token_dim, heads, drop_path):
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.k = linear(token_dim, channels)
        self.proj = linear(token_dim, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x, tokens):
        B, C, H, _ = x.shape
        query = x.reshape([0, self.heads, C // self.heads, -1])    # (B, heads, c, H*W)
        keys = split_heads(self.k(tokens), self.heads) * self.scale  # (B, heads, T, c)
        values = split_heads(self.proj(tokens), self.heads)        # (B, heads, T, c)
        attn = self.softmax(keys @ query)                          # (B, heads, T, H*W)
        out = paddle.matmul(values, attn, transpose_x=True)        # (B, heads, c, H*W)
        return (query + self.drop_path(out)).reshape([0, C, H, -1])


class LiteBlock(nn.Layer):
    """Depthwise, then 1x1: (B, C, H, W) -> (B, C', H / stride, W / stride). The tokens are passed on unchanged."""

    def __init__(self, in_channels, out_channels, stride, expansion, groups):
        super().__init__()
        hidden = in_channels * expansion
        self.residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            conv2d(in_channels, hidden, 3, stride, in_channels), nn.BatchNorm2D(hidden), nn.ReLU6(),
            ChannelShuffle(in_channels) if groups > 1 else nn.Identity(),
            conv2d(hidden, out_channels, groups=groups), nn.BatchNorm2D(out_channels))

    def forward(self, x, tokens):
        out = self.conv(x)
        return (x + out if self.residual else out), tokens


class Bridged(nn.Layer):
    """A block with both paths: map and tokens -> map (B, C', H / stride, W / stride) and tokens.

    First the tokens read the map and attend to each other. Then `mobile(x, tokens)` of the subclass computes the new map, which
    reads the tokens.
    """

    def __init__(self, in_channels, out_channels, token_dim, bridge_heads, token_heads, mlp_ratio, drop_path):
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.local_global = LocalToGlobal(in_channels, token_dim, bridge_heads, drop_path)
        self.global_block = GlobalBlock(token_dim, token_heads, mlp_ratio, drop_path)
        self.global_local = GlobalToLocal(out_channels, token_dim, bridge_heads, drop_path)

    def forward(self, x, tokens):
        tokens, _ = self.local_global(x, tokens)
        tokens = self.global_block(tokens)
        return self.global_local(self.mobile(x, tokens), tokens), tokens


class Block(Bridged):
    """Stride 1: 1x1 up, depthwise, 1x1 down, with a residual if the width stays the same."""

    def __init__(self, in_channels, out_channels, expansion, groups, reduction, drop_path, token_dim, *former):
        super().__init__(in_channels, out_channels, token_dim, *former, drop_path)
        hidden = in_channels * expansion
        self.residual = in_channels == out_channels
        shuffle = [ChannelShuffle(groups)] if groups > 1 else []
        self.conv1 = ConvNorm(in_channels, hidden, 1, 1, groups, *shuffle)
        self.hyper1 = HyperFunction(token_dim, hidden, reduction)
        self.conv2 = ConvNorm(hidden, hidden, 3, 1, hidden)
        self.hyper2 = HyperFunction(token_dim, hidden, reduction)
        self.conv3 = ConvNorm(hidden, out_channels, 1, 1, groups, *shuffle)

    def mobile(self, x, tokens):
        out = dynamic_relu(self.conv1(x), self.hyper1(tokens))
        out = dynamic_relu(self.conv2(out), self.hyper2(tokens))
        out = self.conv3(out)
        return x + self.drop_path(out) if self.residual else out


class DownBlock(Bridged):
    """Stride 2: depthwise up, 1x1 down; then the same again at the new size, with a residual."""

    def __init__(self, in_channels, out_channels, stride, expansions, groups, reduction, drop_path, token_dim, *former):
        super().__init__(in_channels, out_channels, token_dim, *former, drop_path)
        hidden1, hidden2 = in_channels * expansions[0], out_channels * expansions[1]
        shuffle1, shuffle2 = ([ChannelShuffle(in_channels)], [ChannelShuffle(out_channels)]) if groups > 1 else ([], [])
        self.conv1 = ConvNorm(in_channels, hidden1, 3, stride, in_channels, *shuffle1)
        self.hyper1 = HyperFunction(token_dim, hidden1, reduction)
        self.conv2 = ConvNorm(hidden1, out_channels, 1, 1, groups)
        self.conv3 = ConvNorm(out_channels, hidden2, 3, 1, out_channels, *shuffle2)
        self.hyper3 = HyperFunction(token_dim, hidden2, reduction)
        self.conv4 = ConvNorm(hidden2, out_channels, 1, 1, groups)

    def mobile(self, x, tokens):
        x = self.conv2(dynamic_relu(self.conv1(x), self.hyper1(tokens)))
        return x + self.drop_path(self.conv4(dynamic_relu(self.conv3(x), self.hyper3(tokens))))


class Head(nn.Layer):
    """Last map and tokens -> logits (B, num_classes). `widen` gives (B, C, H, W) -> (B, C', H, W); `forward` pools this map and
    joins it with token 0."""

    def __init__(self, channels, expansion, groups, token_dim, hidden, num_classes, dropout):
        super().__init__()
        wide = channels * expansion
        self.conv = nn.Sequential(ChannelShuffle(groups) if groups > 1 else nn.Identity(),
                                  conv2d(channels, wide, groups=groups), nn.BatchNorm2D(wide))
        self.fc = nn.Sequential(linear(wide + token_dim, hidden), nn.BatchNorm1D(hidden), Hardswish())
        self.classifier = nn.Sequential(nn.Dropout(dropout), linear(hidden, num_classes))

    def widen(self, x):
        return F.relu6(self.conv(x))

    def forward(self, x, tokens):
        pooled = hardswish(F.adaptive_avg_pool2d(x, 1)).flatten(1)  # (B, C')
        return self.classifier(self.fc(paddle.concat([pooled, tokens[:, 0]], axis=-1)))


class MobileFormerOfficial(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        tokens: (number T, width D).
        blocks: (channels, stride, expansion) of each block; the first is the lite block.
        groups: of every 1x1 convolution.
        down_expansion, last_expansion, hidden_features, bridge_heads, token_heads, mlp_ratio, reduction: see `config.py`.
        dropout: probability in front of the classifier.
        drop_path: rate for the residuals of both paths in the last block; it rises linearly from the first block.
    """

    key_style = 'official'
    classifier_layers = ('classifier.classifier.1',)  # what a new number of classes replaces

    def __init__(self, num_classes, in_channels, tokens, stem, blocks, groups=1, down_expansion=4, last_expansion=6,
                 hidden_features=1280, bridge_heads=2, token_heads=4, mlp_ratio=2, reduction=4, dropout=0.0, drop_path=0.0):
        super().__init__()
        count, token_dim = tokens
        former = (token_dim, bridge_heads, token_heads, mlp_ratio)
        self.tokens = Tokens(count, token_dim)
        self.stem = ConvNorm(in_channels, stem, 3, 2, 1, nn.ReLU6())
        widths = [stem, *(channels for channels, _, _ in blocks)]
        layers = [LiteBlock(stem, *blocks[0], groups)]
        for i, (channels, stride, expansion) in enumerate(blocks[1:], start=1):
            drop = drop_path * (i + 1) / len(blocks)
            if stride == 1:
                layers.append(Block(widths[i], channels, expansion, groups, reduction, drop, *former))
            else:
                expansions = (expansion, down_expansion)
                layers.append(DownBlock(widths[i], channels, stride, expansions, groups, reduction, drop, *former))
        self.features = Stage(*layers)
        self.local_global = LocalToGlobal(widths[-1], token_dim, bridge_heads, drop_path)
        self.classifier = Head(widths[-1], last_expansion, groups, token_dim, hidden_features, num_classes, dropout)
        self.levels, self.feature_strides = levels_of([2, *(stride for _, stride, _ in blocks)])  # the last step at each stride
        self.feature_channels = [widths[i] for i in self.levels]
        layers = [['stem'], ['tokens', 'features.0'], *([f'features.{i}'] for i in range(1, len(blocks)))]
        self.feature_layers = by_level(self.levels, layers)

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms and biases: none, as the authors decay the tokens."""
        return set()

    def explained_layer(self):
        """The last block: the classifier reads its map in two ways, pooled and through the tokens."""
        return self.features[len(self.features) - 1]

    def _trunk(self, x):
        """The maps after the stem and each block; and the last tokens."""
        tokens = self.tokens(x)                                    # (B, T, D)
        stem = self.stem(x)
        states = self.features.outputs(range(len(self.features)), stem, tokens)
        return [stem, *[x for x, _ in states]], states[-1][1]

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        maps, _ = self._trunk(x)
        return [maps[i] for i in self.levels]

    def forward_features(self, x):
        """Last map (B, C, H/32, W/32) and tokens (B, T, D): the head takes both."""
        maps, tokens = self._trunk(x)
        tokens, _ = self.local_global(maps[-1], tokens)
        return self.classifier.widen(maps[-1]), tokens

    def forward_head(self, features):
        return self.classifier(*features)

    def replace_classifier(self, num_classes):
        layers = self.classifier.classifier
        layers[1] = linear(layers[1].weight.shape[0], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model = cfg.MODEL
    _check(model)
    return MobileFormerOfficial(
        num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, tokens=model.TOKENS, stem=model.STEM_CHANNELS,
        blocks=list(zip(model.BLOCK.CHANNELS, model.BLOCK.STRIDES, model.BLOCK.EXPANSIONS)), groups=model.POINTWISE_GROUPS,
        down_expansion=model.DOWN_EXPANSION, last_expansion=model.LAST_EXPANSION, hidden_features=model.HIDDEN_FEATURES,
        bridge_heads=model.BRIDGE_HEADS, token_heads=model.TOKEN_HEADS, mlp_ratio=model.MLP_RATIO,
        reduction=model.HYPER_REDUCTION, dropout=model.DROPOUT, drop_path=model.DROPPATH)


def _check(model):
    """Raise UserError unless the lists have the same length and heads and groups divide the widths."""
    lengths = {key: len(column) for key, column in model.BLOCK.items()}
    if len(set(lengths.values())) > 1 or min(lengths.values()) == 0:
        raise UserError(f'the lists of MODEL.BLOCK have lengths {lengths}; wanted one entry per block in each')
    if len(model.TOKENS) != 2 or model.TOKENS[1] % model.TOKEN_HEADS:
        raise UserError(f'MODEL.TOKENS is {model.TOKENS}; wanted number and width, a multiple of the {model.TOKEN_HEADS} heads '
                        'of MODEL.TOKEN_HEADS')
    step = lcm(model.POINTWISE_GROUPS, model.BRIDGE_HEADS)
    odd = [channels for channels in model.BLOCK.CHANNELS if channels % step]
    if odd:
        raise UserError(f'MODEL.BLOCK.CHANNELS has {odd}; wanted multiples of {step}, which MODEL.POINTWISE_GROUPS '
                        f'{model.POINTWISE_GROUPS} and MODEL.BRIDGE_HEADS {model.BRIDGE_HEADS} divide')
    hidden = model.STEM_CHANNELS * model.BLOCK.EXPANSIONS[0]
    if hidden % model.POINTWISE_GROUPS:
        raise UserError(f'the lite block has {hidden} hidden channels (MODEL.STEM_CHANNELS times the first of '
                        f'MODEL.BLOCK.EXPANSIONS); wanted a multiple of MODEL.POINTWISE_GROUPS, {model.POINTWISE_GROUPS}')
