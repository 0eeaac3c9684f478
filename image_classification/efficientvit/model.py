"""EfficientViT-M, https://arxiv.org/abs/2305.07027. Parameters bear the names of the microsoft/Cream checkpoints.

`EfficientViT` is the classifier, `EfficientViTBackbone` a detector backbone. Its strides are 16, 32, 64 as in the authors' code
(`_det`), or 8, 16, 32 as in the original tutorial code (`_yolo`): there the last convolution of the patch embedding has
stride 1. Oddities of both:

- *The classifier clips its windows to the map (4 x 4 in the last stage), so the number of attention biases depends on the
  image size.* Here `WINDOWS` sets them to 7, 7, 4 at any size, as in the published weights. The backbones have 7 throughout.
- *The classifier asserts its image size, and a detector fails on the attention biases if a map is smaller than 7 x 7.* Here any
  size works. A map that is smaller than the window, or not a multiple of it, is padded with zeros below and to the right, as
  the original does with larger maps. The padding is not masked. At sizes that the originals accept, the results are the same.
- *M0's kernels are 5, 5, 5, 5 in the classifier but 7, 5, 3, 3 in both detectors.* Kept: the weights depend on them.
- *`eval()` caches the attention biases, so weights loaded afterwards have no effect.* Here nothing is cached.
- *To find its channels, the tutorial's constructor runs a 640 x 640 image in training mode, which disturbs the batch norm
  statistics.* Here `feature_channels` follows from the arguments.
- *The authors' backbone freezes its patch embedding, and all batch norms in training.* Here the caller decides.
- *The residual branches have a drop rate that nothing sets.* Here `DROPPATH` sets it. `DROPOUT` acts before the classifier.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import Network, Stage
from image_classification.layers.conv_norm import (ConvNorm, NormLinear, Residual, depthwise_and_ffn, each_output, finer_levels,
                                                   merging, patch_embedding)
from image_classification.layers.position_bias import bias_tables, distances


class CascadedGroupAttention(nn.Layer):
    """Attention among all pixels of a window, each head on its own share of the channels: (B, C, w, w) -> (B, C, w, w).

    In a cascade, each head adds the previous head's output to its share of the input. Its query passes a depthwise convolution,
    the token interaction, whose kernel size differs by head. A bias per head and distance (|dy|, |dx|) is added to the scores.
    """

    def __init__(self, channels, key_dim, heads, window, kernels):
        super().__init__()
        self.scale = key_dim ** -0.5
        self.window, self.heads = window, heads
        share = channels // heads                                  # channels of a head's input, value and output
        self.parts = [key_dim, key_dim, share]                     # query, key, value
        self.qkvs = nn.LayerList([ConvNorm(share, sum(self.parts)) for _ in range(heads)])
        self.dws = nn.LayerList([ConvNorm(key_dim, key_dim, kernel, groups=key_dim) for kernel in kernels[:heads]])
        self.proj = nn.Sequential(nn.ReLU(), ConvNorm(channels, channels, gain=0.0))
        self.attention_biases = self.create_parameter([heads, window * window],
                                                      default_initializer=nn.initializer.Constant(0.0))
        self.register_buffer('attention_bias_idxs', distances(window), persistable=False)

    def biases(self):
        """The bias of each head for each pair of query and key: (heads, N, N) with N = window ** 2."""
        idxs = self.attention_bias_idxs.flatten().astype('int64')  # `.to(dtype=...)` turns this buffer into floats, too
        return paddle.gather(self.attention_biases, idxs, axis=1).reshape([self.heads, self.window ** 2, -1])

    def attend(self, i, x, bias):
        """Head i: (B, C / heads, w, w), (N, N) -> (B, C / heads, w, w)."""
        query, key, value = self.qkvs[i](x).split(self.parts, axis=1)
        query = self.dws[i](query) * self.scale
        scores = paddle.matmul(query.flatten(2), key.flatten(2), transpose_x=True)   # (B, N, N)
        attn = F.softmax(scores + bias, axis=-1)
        out = paddle.matmul(value.flatten(2), attn, transpose_y=True)  # (B, C / heads, N)
        return out.reshape([0, 0, self.window, self.window])

    def forward(self, x):
        biases, outs = self.biases(), []
        for i, share in enumerate(x.chunk(self.heads, axis=1)):
            outs.append(self.attend(i, share if i == 0 else share + outs[-1], biases[i]))
        return self.proj(paddle.concat(outs, axis=1))


class LocalWindowAttention(nn.Layer):
    """Cascaded group attention within windows of w x w pixels: (B, C, H, W) -> (B, C, H, W).

    Maps that w does not divide are padded with zeros below and to the right.
    """

    def __init__(self, channels, key_dim, heads, window, kernels):
        super().__init__()
        self.channels, self.window = channels, window
        self.attn = CascadedGroupAttention(channels, key_dim, heads, window, kernels)

    def forward(self, x):
        w, c = self.window, self.channels
        height, width = x.shape[2:]
        rows, columns = (height + w - 1) // w, (width + w - 1) // w
        x = F.pad(x, [0, columns * w - width, 0, rows * w - height])
        x = x.reshape([0, c, rows, w, columns, w]).transpose([0, 2, 4, 1, 3, 5])     # (B, rows, columns, C, w, w)
        x = self.attn(x.reshape([-1, c, w, w]))
        x = x.reshape([-1, rows, columns, c, w, w]).transpose([0, 3, 1, 4, 2, 5])    # (B, C, rows, w, columns, w)
        return x.reshape([0, c, rows * w, columns * w])[:, :, :height, :width]


class EfficientViTBlock(nn.Layer):
    """The sandwich block, attention between two pairs of depthwise convolution and FFN: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels, key_dim, heads, window, kernels, drop_path):
        super().__init__()
        self.dw0, self.ffn0 = depthwise_and_ffn(channels, 0.0, drop_path)
        self.mixer = Residual(LocalWindowAttention(channels, key_dim, heads, window, kernels), drop_path)
        self.dw1, self.ffn1 = depthwise_and_ffn(channels, 0.0, drop_path)

    def forward(self, x):
        return self.ffn1(self.dw1(self.mixer(self.ffn0(self.dw0(x)))))


class EfficientViTBackbone(Network):
    """(B, in_channels, H, W), normalized -> list of the maps of the three stages, also in training; any H and W.

    Args:
        dims, depths, num_heads, key_dims, windows: one number per stage, see `config.py`.
        kernels: of the token interaction, at least one per head.
        stride: of the first stage, 16 or 8; it doubles with each further stage.
        drop_path: probability that a sample skips a residual branch in training.
    """

    key_style = 'official'
    derived_entries = ('attention_bias_idxs',)                     # in published files, but computed here
    feature_layers = [['patch_embed', 'blocks1'], ['blocks2'], ['blocks3']]

    def __init__(self, in_channels, dims, depths, num_heads, key_dims, windows, kernels, stride=16, drop_path=0.0):
        super().__init__()
        c = dims[0]
        self.patch_embed = patch_embedding(in_channels, c, last_stride=stride // 8)
        stages = [[], [], []]
        for i, (dim, depth, heads, key_dim, window) in enumerate(zip(dims, depths, num_heads, key_dims, windows)):
            if i > 0:
                stages[i] += merging(dims[i - 1], dim, drop_path)
            stages[i] += [EfficientViTBlock(dim, key_dim, heads, window, kernels, drop_path) for _ in range(depth)]
        self.blocks1, self.blocks2, self.blocks3 = (Stage(*stage) for stage in stages)
        self.feature_channels = list(dims)
        self.feature_strides = [stride, 2 * stride, 4 * stride]
        self.finer_levels, self.finer_channels, self.finer_strides = finer_levels(c, below=stride)

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms and biases."""
        return bias_tables(self)

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        first = self.blocks1(self.patch_embed(x))
        second = self.blocks2(first)
        return [first, second, self.blocks3(second)]

    def forward_finer(self, x):
        """List of maps: those of the patch embedding (`finer_strides`), then those of the stages."""
        maps = each_output(self.patch_embed, x)
        first = self.blocks1(maps[-1])
        second = self.blocks2(first)
        return [*(maps[i] for i in self.finer_levels), first, second, self.blocks3(second)]

    def forward_features(self, x):
        """The last map (B, C, H / s, W / s), where s is the last stride."""
        return self.forward_intermediates(x)[-1]

    def forward(self, x):
        return self.forward_intermediates(x)

    def forward_head(self, features):
        raise UserError('a detector backbone has no head; use one of efficientvit_m0 to efficientvit_m5 to classify')

    def replace_classifier(self, num_classes):
        raise UserError(f'a detector backbone has no classifier for {num_classes} classes; use one of efficientvit_m0 to '
                        'efficientvit_m5 to classify')


class EfficientViT(EfficientViTBackbone):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W. `backbone`: the backbone's arguments."""

    classifier_layers = ('head.l',)  # what a new number of classes replaces

    def __init__(self, num_classes, dropout=0.0, **backbone):
        super().__init__(**backbone)
        self.head = NormLinear(self.feature_channels[-1], num_classes, dropout)

    def forward_head(self, features):
        return self.head(features.mean([2, 3]))

    def forward(self, x):
        return self.forward_head(self.forward_features(x))

    def replace_classifier(self, num_classes):
        self.head.replace(num_classes)


def from_classifier(model, state):
    """Convert a classifier's state dict to one for `model`, a detector backbone with the same kernels. Both are {key: array}
    with this library's names.

    The head is left out. Attention biases of smaller windows are resized by bicubic interpolation, as in the authors'
    detectors.
    """
    own = model.state_dict()
    fitted = {name: value for name, value in state.items() if not name.startswith('head.')}
    for name in model.no_weight_decay() & fitted.keys():
        table, (_, wanted) = paddle.to_tensor(fitted[name]), own[name].shape
        found = table.shape[1]
        if found != wanted:                                        # (heads, side * side) -> (heads, window * window)
            side, window = round(found ** 0.5), round(wanted ** 0.5)
            table = F.interpolate(table.reshape([1, -1, side, side]), [window, window], mode='bicubic', align_corners=False)
            fitted[name] = table.reshape([-1, wanted]).numpy()
    return fitted


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized. Raises UserError if its parts do not fit together."""
    model, vit = cfg.MODEL, cfg.MODEL.EFFICIENTVIT
    _check(vit)
    backbone = {'in_channels': model.IN_CHANNELS, 'dims': vit.DIMS, 'depths': vit.DEPTHS, 'num_heads': vit.NUM_HEADS,
                'key_dims': vit.KEY_DIMS, 'windows': vit.WINDOWS, 'kernels': vit.KERNELS, 'stride': vit.STRIDE,
                'drop_path': model.DROPPATH}
    return EfficientViT(model.NUM_CLASSES, model.DROPOUT, **backbone) if vit.HEAD else EfficientViTBackbone(**backbone)


def _check(vit):
    """Raise UserError unless MODEL.EFFICIENTVIT describes three stages with matching channels, heads, kernels and stride."""
    for key in ('DIMS', 'DEPTHS', 'NUM_HEADS', 'KEY_DIMS', 'WINDOWS'):
        if len(vit[key]) != 3:
            raise UserError(f'MODEL.EFFICIENTVIT.{key} is {vit[key]}; wanted three numbers, one per stage')
    for dim, heads in zip(vit.DIMS, vit.NUM_HEADS):
        if dim % heads:
            raise UserError(f'MODEL.EFFICIENTVIT.NUM_HEADS has {heads} for a stage of {dim} channels; wanted a divisor')
    if vit.DIMS[0] % 8:
        raise UserError(f'MODEL.EFFICIENTVIT.DIMS begins with {vit.DIMS[0]}; wanted a multiple of 8 for the patch embedding')
    if len(vit.KERNELS) < max(vit.NUM_HEADS) or any(kernel % 2 == 0 for kernel in vit.KERNELS):
        raise UserError(f'MODEL.EFFICIENTVIT.KERNELS is {vit.KERNELS}; wanted an odd number for each of the '
                        f'{max(vit.NUM_HEADS)} heads')
    if vit.STRIDE not in (8, 16):
        raise UserError(f'MODEL.EFFICIENTVIT.STRIDE is {vit.STRIDE}; wanted 16, or 8')
