"""Mobile-Former, https://arxiv.org/abs/2108.05895, as the original tutorial code and PaddleViT build it in Paddle.

Parameter names are theirs, so a .pdparams file saved by either of them loads. The authors published their own network later; it
differs in detail, see `mobileformer_official`. In some places the tutorial code does not do what it intends:

- *Its lite bottleneck has no activation.* Kept, because its weights depend on this; `MF.LITE_BNECK.ACT` adds one.
- *It applies softmax in evaluation only.* Removed: `forward` always returns logits. This changes losses, but not accuracies.
- *The Former applies the dropout of attention weights* (`ATTENTION_DROPOUT`) *to the attention output, and uses the drop-path
  rate for its own dropout.* Fixed: the output gets `DROPOUT`, as in both bridges. Evaluation is unaffected.
- *Kaiming initialization, also of linear layers*, makes the first losses large (6.3 where guessing ten digits gives 2.3) and
  the start slow. Here it is a truncated normal of 0.02, as in PaddleViT; `MF.INIT: kn` is the tutorial's choice.
- *The depthwise convolution of a Mobile sub-block is padded by 1 for any kernel.* Here it is padded by half the kernel.
- *Mobile has no residual and uses one dynamic ReLU in both positions; convolutions have a bias before batch norm.* Kept.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.convolution import conv_bn
from image_classification.errors import UserError
from image_classification.layers import (Conv2D, DropPath, Hardswish, LayerNorm, Network, Stage, by_level, dynamic_relu,
                                         hardswish, levels_of, merge_heads, per_head, read_map, softmax_of_tokens, split_heads)

INITIALIZERS = {'tn': nn.initializer.TruncatedNormal(std=0.02), 'kn': nn.initializer.KaimingNormal(),
                'ku': nn.initializer.KaimingUniform(), 'xu': nn.initializer.XavierUniform()}
ACTIVATIONS = {'none': nn.Identity, 'relu': nn.ReLU, 'relu6': nn.ReLU6, 'hardswish': Hardswish}


def linear(in_features, out_features, init, bias=True):
    return nn.Linear(in_features, out_features, weight_attr=INITIALIZERS[init],
                     bias_attr=nn.initializer.Constant(0.0) if bias else False)


def conv2d(in_channels, out_channels, kernel, stride, padding, groups, init):
    return Conv2D(in_channels, out_channels, kernel, stride, padding, groups=groups, weight_attr=INITIALIZERS[init],
                  bias_attr=nn.initializer.Constant(0.0))


class Heads(nn.LayerList):
    """One linear layer per head: tokens (B, M, heads * d) -> (B, heads, M, d'), multiplied by `scale`."""

    def __init__(self, heads, in_features, out_features, init, bias, scale=1.0):
        super().__init__([linear(in_features, out_features, init, bias) for _ in range(heads)])
        self.scale = scale

    def forward(self, tokens):
        out = per_head(split_heads(tokens, len(self)), paddle.stack([layer.weight for layer in self]))
        if self[0].bias is not None:
            out = out + paddle.stack([layer.bias for layer in self]).unsqueeze(1)   # (heads, 1, d')
        return out if self.scale == 1 else out * self.scale


class Stem(nn.Layer):
    """(B, 3, H, W) -> (B, C, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride, padding, init):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel, stride, padding, 1, init)
        self.bn = nn.BatchNorm2D(out_channels)
        self.act = Hardswish()

    def forward(self, x):
        return self.act(conv_bn(x, self.conv, self.bn))


class PointWiseConv(nn.Layer):
    """A grouped 1x1 convolution. It has no `forward`: callers apply `conv` together with the batch norm behind it."""

    def __init__(self, in_channels, out_channels, groups, init):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, 1, 1, 0, groups, init)


class DepthWiseConv(nn.Layer):
    """A k x k depthwise convolution, then the batch norm `bn`. With `is_lite`, k x 1, a batch norm, and 1 x k replace k x k."""

    def __init__(self, channels, kernel, stride, padding, is_lite, init):
        super().__init__()
        if is_lite:
            self.conv = nn.Sequential(
                conv2d(channels, channels, [kernel, 1], [stride, 1], [padding, 0], channels, init),
                nn.BatchNorm2D(channels),
                conv2d(channels, channels, [1, kernel], [1, stride], [0, padding], channels, init))
        else:
            self.conv = conv2d(channels, channels, kernel, stride, padding, channels, init)

    def forward(self, x, bn):
        if isinstance(self.conv, nn.Sequential):
            return conv_bn(conv_bn(x, self.conv[0], self.conv[1]), self.conv[2], bn)
        return conv_bn(x, self.conv, bn)


class MLP(nn.Layer):
    """(..., D) -> (..., out_features), with int(ratio * D) hidden features."""

    def __init__(self, in_features, out_features, ratio, dropout, init):
        super().__init__()
        hidden = int(ratio * in_features)
        self.fc1 = linear(in_features, hidden, init)
        self.fc2 = linear(hidden, out_features, init)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(x)))))


class DyReLU(nn.Layer):
    """Dynamic ReLU type B, https://arxiv.org/abs/2003.10027: y_c = max_k(a_ck * x_c + b_ck).

    `pieces(tokens)` computes a and b from token 0: [(a_1, b_1), ..., (a_k, b_k)], each (B, C, 1, 1). A block uses them twice.
    """

    def __init__(self, channels, token_dim, k, coefs, consts, reduce, init):
        super().__init__()
        self.k, self.coefs, self.offset = k, coefs, consts[1]
        self.slopes = [consts[0]] + [consts[1]] * (k - 1)          # the values that `project` adds to
        self.project = nn.Sequential(MLP(token_dim, 2 * k * channels, 1 / reduce, 0.0, init), LayerNorm(2 * k * channels))

    def pieces(self, tokens):
        theta = self.project(tokens[:, 0])                         # (B, C * 2k): k slopes, k offsets, channel by channel
        theta = theta.reshape([0, -1, 2 * self.k, 1, 1]).unbind(2)  # 2k times (B, C, 1, 1)
        return [(theta[j] * self.coefs[0] + self.slopes[j], theta[self.k + j] * self.coefs[1] + self.offset)
                for j in range(self.k)]

    def forward(self, x, pieces):                                  # (B, C, H, W)
        return dynamic_relu(x, *zip(*pieces))


class BottleNeck(nn.Layer):
    """1x1 up, depthwise, 1x1 down: (B, C, H, W) -> (B, C', H / stride, W / stride).

    With `dyrelu` (k, coefs, consts, reduce), both inner activations are the same dynamic ReLU of the tokens, otherwise `act`.
    """

    def __init__(self, in_channels, hidden, out_channels, kernel, stride, padding, groups, init, is_lite=False, act='none',
                 token_dim=None, dyrelu=None):
        super().__init__()
        self.in_pw = PointWiseConv(in_channels, hidden, groups, init)
        self.in_pw_bn = nn.BatchNorm2D(hidden)
        self.dw = DepthWiseConv(hidden, kernel, stride, padding, is_lite, init)
        self.dw_bn = nn.BatchNorm2D(hidden)
        self.out_pw = PointWiseConv(hidden, out_channels, groups, init)
        self.out_pw_bn = nn.BatchNorm2D(out_channels)
        self.dynamic = dyrelu is not None
        self.act = DyReLU(hidden, token_dim, *dyrelu, init) if self.dynamic else ACTIVATIONS[act]()

    def forward(self, x, tokens=None):
        pieces = [self.act.pieces(tokens)] if self.dynamic else []
        x = self.act(conv_bn(x, self.in_pw.conv, self.in_pw_bn), *pieces)
        x = self.act(self.dw(x, self.dw_bn), *pieces)
        return conv_bn(x, self.out_pw.conv, self.out_pw_bn)


class Mobile(nn.Layer):
    """The local path: (B, C, H, W), (B, M, D) -> (B, C', H / stride, W / stride). Stride 2 adds a depthwise block in front."""

    def __init__(self, in_channels, hidden, out_channels, kernel, stride, padding, groups, init, token_dim, dyrelu):
        super().__init__()
        self.bneck = BottleNeck(in_channels, hidden, out_channels, kernel, 1, kernel // 2, groups, init,
                                token_dim=token_dim, dyrelu=dyrelu)
        self.downsample_dw = None
        if stride == 2:
            self.downsample_dw = nn.Sequential(DepthWiseConv(in_channels, kernel, 2, padding, False, init),
                                               nn.BatchNorm2D(in_channels), nn.ReLU())

    def forward(self, x, tokens):
        if self.downsample_dw is not None:
            conv, bn, act = self.downsample_dw
            x = act(conv(x, bn))
        return self.bneck(x, tokens)


class ToFormer_Bridge(nn.Layer):
    """Local to global: the tokens query the map, which is both key and value: (B, C, H, W), (B, M, D) -> (B, M, D)."""

    def __init__(self, token_dim, channels, heads, dropout, drop_path, attn_dropout, qkv_bias, init):
        super().__init__()
        self.heads = heads
        self.input_norm = LayerNorm(token_dim)
        self.heads_q_proj = Heads(heads, token_dim // heads, channels // heads, init, qkv_bias, (channels // heads) ** -0.5)
        self.output = linear(channels, token_dim, init)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)
        self.attn_dropout = nn.Dropout(attn_dropout)

    def forward(self, x, tokens):
        keys = x.reshape([0, self.heads, x.shape[1] // self.heads, -1])  # (B, heads, c, H*W), saves transposing the map
        query = self.heads_q_proj(self.input_norm(tokens))         # (B, heads, M, c)
        attn = self.attn_dropout(F.softmax(query @ keys))          # (B, heads, M, H*W)
        return tokens + self.drop_path(self.dropout(self.output(merge_heads(read_map(attn, keys)))))


class ToMobile_Bridge(nn.Layer):
    """Global to local: the map queries the tokens: (B, C, H, W), (B, M, D) -> (B, C, H, W)."""

    softmax = staticmethod(softmax_of_tokens)

    def __init__(self, token_dim, channels, heads, dropout, drop_path, attn_dropout, qkv_bias, init):
        super().__init__()
        self.heads = heads
        sizes = (heads, token_dim // heads, channels // heads, init, qkv_bias)
        self.input_token_norm = LayerNorm(token_dim)
        self.heads_k_proj = Heads(*sizes, scale=(channels // heads) ** -0.5)
        self.heads_v_proj = Heads(*sizes)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)
        self.attn_dropout = nn.Dropout(attn_dropout)

    def keys_and_values(self, tokens):
        """(B, M, D) -> 2 x (B, heads, M, c)."""
        tokens = self.input_token_norm(tokens)
        return self.heads_k_proj(tokens), self.heads_v_proj(tokens)

    def forward(self, x, tokens):
        B, C, H, _ = x.shape
        keys, values = self.keys_and_values(tokens)
        query = x.reshape([0, self.heads, C // self.heads, -1])    # (B, heads, c, H*W)
        attn = self.attn_dropout(self.softmax(keys @ query))       # (B, heads, M, H*W)
        out = paddle.matmul(values, attn, transpose_x=True)        # (B, heads, c, H*W)
        return (query + self.drop_path(self.dropout(out))).reshape([0, C, H, -1])


class Attention(nn.Layer):
    """Multi-head self-attention of the tokens: (B, M, D) -> (B, M, D)."""

    def __init__(self, dim, heads, dropout, attn_dropout, qkv_bias, init):
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv_proj = linear(dim, 3 * dim, init, qkv_bias)
        self.output = linear(dim, dim, init)
        self.dropout = nn.Dropout(dropout)
        self.attn_dropout = nn.Dropout(attn_dropout)

    def query_key_value(self, tokens):
        """(B, M, D) -> 3 x (B, heads, M, d)."""
        query, key, value = split_heads(self.qkv_proj(tokens), 3 * self.heads).chunk(3, axis=1)
        return query * self.scale, key, value

    def forward(self, tokens):
        query, key, value = self.query_key_value(tokens)
        attn = self.attn_dropout(F.softmax(paddle.matmul(query, key, transpose_y=True)))
        return self.dropout(self.output(merge_heads(attn @ value)))


class Former(nn.Layer):
    """The global path, a pre-norm transformer block of the tokens: (B, M, D) -> (B, M, D)."""

    def __init__(self, dim, heads, mlp_ratio, dropout, drop_path, attn_dropout, mlp_dropout, qkv_bias, init):
        super().__init__()
        self.attn = Attention(dim, heads, dropout, attn_dropout, qkv_bias, init)
        self.attn_ln = LayerNorm(dim)
        self.attn_drop_path = DropPath(drop_path)
        self.mlp = MLP(dim, dim, mlp_ratio, mlp_dropout, init)
        self.mlp_ln = LayerNorm(dim)
        self.mlp_drop_path = DropPath(drop_path)

    def forward(self, tokens):
        tokens = tokens + self.attn_drop_path(self.attn(self.attn_ln(tokens)))
        return tokens + self.mlp_drop_path(self.mlp(self.mlp_ln(tokens)))


class MFBlock(nn.Layer):
    """Bridge to Former, Former, Mobile, bridge to Mobile: map and tokens -> map (B, C', H / stride, W / stride) and tokens."""

    def __init__(self, in_channels, hidden, out_channels, kernel, stride, padding, groups, init, token_dim, dyrelu, heads,
                 mlp_ratio, dropout, drop_path, attn_dropout, mlp_dropout, qkv_bias):
        super().__init__()
        bridge = (heads, dropout, drop_path, attn_dropout, qkv_bias, init)
        self.mobile = Mobile(in_channels, hidden, out_channels, kernel, stride, padding, groups, init, token_dim, dyrelu)
        self.toformer_bridge = ToFormer_Bridge(token_dim, in_channels, *bridge)
        self.former = Former(token_dim, heads, mlp_ratio, dropout, drop_path, attn_dropout, mlp_dropout, qkv_bias, init)
        self.tomobile_bridge = ToMobile_Bridge(token_dim, out_channels, *bridge)

    def forward(self, x, tokens):
        tokens = self.former(self.toformer_bridge(x, tokens))
        return self.tomobile_bridge(self.mobile(x, tokens), tokens), tokens


class Classifier_Head(nn.Layer):
    """Pooled map and token 0 -> logits: (B, C, H, W), (B, M, D) -> (B, num_classes)."""

    def __init__(self, channels, token_dim, hidden, num_classes, dropout, init):
        super().__init__()
        self.fc1 = linear(channels + token_dim, hidden, init)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = linear(hidden, num_classes, init)

    def forward(self, x, tokens):
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)            # (B, C)
        hidden = hardswish(self.fc1(paddle.concat([pooled, tokens[:, 0]], axis=-1)))
        return self.fc2(self.dropout(hidden))


class MobileFormer(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        tokens: (number M, width D). stem: (channels, kernel, stride, padding).
        lite: (in, hidden, out, kernel, stride, padding, activation) of the lite bottleneck.
        blocks: (in, hidden, out, kernel, stride, padding) of each block.
        dyrelu: (k, coefs, consts, reduce), or None for blocks without activation.
        dropout, drop_path, attn_dropout, mlp_dropout: probabilities, see `config.py`.
    """

    classifier_layers = ('head.fc2',)  # what a new number of classes replaces

    def __init__(self, num_classes, in_channels, tokens, stem, lite, blocks, channel_conv, hidden_feature, groups, heads,
                 mlp_ratio, dyrelu, dropout=0.0, drop_path=0.0, attn_dropout=0.0, mlp_dropout=0.0, qkv_bias=True, init='kn'):
        super().__init__()
        token_dim, self.init = tokens[1], init
        self.tokens = self.create_parameter([1, *tokens])
        self.stem = Stem(in_channels, *stem, init)
        self.bneck_lite = BottleNeck(*lite[:6], groups, init, is_lite=True, act=lite[6])
        self.blocks = Stage(*[MFBlock(*block, groups, init, token_dim, dyrelu, heads, mlp_ratio, dropout, drop_path,
                                      attn_dropout, mlp_dropout, qkv_bias) for block in blocks])
        last = blocks[-1][2]
        self.end_toformer_bridge = ToFormer_Bridge(token_dim, last, heads, dropout, drop_path, attn_dropout, True, init)
        wide = PointWiseConv(last, channel_conv, groups, init)
        self.channel_conv = nn.Sequential(wide, nn.BatchNorm2D(channel_conv), nn.ReLU())
        self.head = Classifier_Head(channel_conv, token_dim, hidden_feature, num_classes, dropout, init)
        steps = [stem[2], lite[4], *(block[4] for block in blocks)]
        widths = [stem[0], lite[2], *(block[2] for block in blocks)]
        self.levels, self.feature_strides = levels_of(steps)       # the last step at each stride
        self.feature_channels = [widths[i] for i in self.levels]
        layers = [['stem'], ['bneck_lite'], ['tokens', 'blocks.0'], *([f'blocks.{i}'] for i in range(1, len(blocks)))]
        self.feature_layers = by_level(self.levels, layers)

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms and biases."""
        return {'tokens'}

    def explained_layer(self):
        """The last block: the classifier reads its map in two ways, pooled and through the tokens."""
        return self.blocks[len(self.blocks) - 1]

    def _trunk(self, x):
        """The maps after the stem, the lite bottleneck and each block; and the last tokens."""
        tokens = self.tokens.expand([x.shape[0], -1, -1])          # the batch stays symbolic under paddle.jit
        stem = self.stem(x)
        lite = self.bneck_lite(stem)
        states = self.blocks.outputs(range(len(self.blocks)), lite, tokens)
        return [stem, lite, *[x for x, _ in states]], states[-1][1]

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        maps, _ = self._trunk(x)
        return [maps[i] for i in self.levels]

    def forward_features(self, x):
        """Last map (B, C, H/32, W/32) and tokens (B, M, D): the head takes both."""
        maps, tokens = self._trunk(x)
        tokens = self.end_toformer_bridge(maps[-1], tokens)
        conv, bn, act = self.channel_conv
        return act(conv_bn(maps[-1], conv.conv, bn)), tokens

    def forward_head(self, features):
        return self.head(*features)

    def replace_classifier(self, num_classes):
        self.head.fc2 = linear(self.head.fc2.weight.shape[0], num_classes, self.init)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, mf = cfg.MODEL, cfg.MODEL.MF
    _check(mf)

    def width(channels):
        return int(mf.ALPHA * channels)

    stem, lite, block, dyrelu = mf.STEM, mf.LITE_BNECK, mf.BLOCK, mf.DYRELU
    columns = (block.IN_CHANNELS, block.HIDDEN_CHANNELS, block.OUT_CHANNELS, block.KERNELS, block.STRIDES, block.PADDINGS)
    blocks = [(width(c_in), width(hidden), width(c_out), *rest) for c_in, hidden, c_out, *rest in zip(*columns)]
    return MobileFormer(
        num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, tokens=mf.TOKENS,
        stem=(width(stem.OUT_CHANNELS), stem.KERNELS, stem.STRIDES, stem.PADDINGS),
        lite=(width(lite.IN_CHANNEL), width(lite.HIDDEN_CHANNEL), width(lite.OUT_CHANNEL), lite.KERNEL, lite.STRIDE,
              lite.PADDING, lite.ACT),
        blocks=blocks, channel_conv=mf.CHANNEL_CONV.OUT_CHANNEL, hidden_feature=mf.HEAD.HIDDEN_FEATURE,
        groups=mf.POINTWISECONV_GROUPS, heads=mf.NUM_HEAD, mlp_ratio=mf.MLP_RATIO,
        dyrelu=(dyrelu.DYRELU_K, dyrelu.COEFS, dyrelu.CONSTS, dyrelu.REDUCE) if dyrelu.USE_DYRELU else None,
        dropout=model.DROPOUT, drop_path=model.DROPPATH, attn_dropout=model.ATTENTION_DROPOUT, mlp_dropout=model.MLP_DROPOUT,
        qkv_bias=mf.QKV_BIAS, init=mf.INIT)


def _check(mf):
    """Raise UserError unless each part of MODEL.MF takes the channels that the one before gives, and NUM_HEAD divides them."""
    lengths = {key: len(column) for key, column in mf.BLOCK.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f'the lists of MODEL.MF.BLOCK differ in length: {lengths}; wanted one entry per block in each')
    ins = [mf.LITE_BNECK.IN_CHANNEL, *mf.BLOCK.IN_CHANNELS, mf.CHANNEL_CONV.IN_CHANNEL, mf.HEAD.IN_CHANNEL]
    outs = [mf.STEM.OUT_CHANNELS, mf.LITE_BNECK.OUT_CHANNEL, *mf.BLOCK.OUT_CHANNELS, mf.CHANNEL_CONV.OUT_CHANNEL]
    if ins != outs:
        raise UserError(f'the parts of MODEL.MF do not fit: stem, lite bottleneck, blocks and channel convolution give {outs} '
                        f'channels, but the next parts take {ins}')
    odd = [n for n in (mf.TOKENS[1], *mf.BLOCK.IN_CHANNELS, *mf.BLOCK.OUT_CHANNELS) if int(mf.ALPHA * n) % mf.NUM_HEAD]
    if odd:
        raise UserError(f'MODEL.MF.NUM_HEAD is {mf.NUM_HEAD}, which does not divide the widths {odd}; wanted a divisor')
