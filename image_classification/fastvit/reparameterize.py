"""Re-parameterises FastViT for evaluation, see `image_classification/fuse.py`."""
from paddle import nn

from image_classification.fastvit.model import (AttentionBlock, LargeKernel, Layer, PositionEncoding, RepMixer,
                                                RepMixerBlock)
from image_classification.layers import convolution_of, fold_in_front, identity_kernel, merged


class Merged(RepMixer):
    """Branches, shortcut and layer scale as one convolution."""

    def forward(self, x):
        return self.mixer(x)


def merge_mixer(layer):
    gamma = layer.layer_scale.gamma.flatten()
    dim = len(gamma)
    for branches in (layer.mixer, layer.norm):
        branches.merge()
    mixer, norm = layer.mixer.conv_kxk[0], layer.norm.conv_kxk[0]
    weight = (mixer.weight - norm.weight) * gamma.reshape([-1, 1, 1, 1])
    weight = weight + identity_kernel(dim, 3, dim).astype(weight.dtype)
    layer.mixer = convolution_of(weight, (mixer.bias - norm.bias) * gamma, 1, dim)
    layer.norm = layer.layer_scale = None
    layer.__class__ = Merged


class OneKernel(LargeKernel):
    """The small kernel is merged into the large one."""

    def forward(self, x):
        return self.large_conv(x)


def merge_kernels(layer):
    out_dim, _, side, _ = layer.large_conv.conv.weight.shape
    dim = layer.large_conv.conv._groups
    layer.large_conv = merged([layer.large_conv, layer.small_conv], dim, out_dim, side, 2, dim)
    layer.small_conv = None
    layer.__class__ = OneKernel


class WithShortcut(PositionEncoding):
    """The shortcut is merged into the convolution."""

    def forward(self, x):
        return self.pos_enc(x)


def merge_shortcut(layer):
    conv = layer.pos_enc
    dim, _, side, _ = conv.weight.shape
    conv.weight.set_value(conv.weight + identity_kernel(dim, side, dim).astype(conv.weight.dtype))
    layer.__class__ = WithShortcut


def fold_scale(layer, scale):
    """Fold a layer scale into the layer in front of it. Returns what replaces the scale."""
    if isinstance(scale, nn.Identity):
        return scale                                               # already folded
    gamma = scale.gamma.flatten()
    channels_first = [-1, 1, 1, 1] if layer.weight.ndim == 4 else [1, -1]      # a convolution, else a linear layer
    layer.weight.set_value(layer.weight * gamma.reshape(channels_first))
    layer.bias.set_value(layer.bias * gamma)
    return nn.Identity()


def fold_around_attention(block):
    """Fold the layer scales into the layers in front of them, and the norm into the layer behind it."""
    block.layer_scale_1 = fold_scale(block.token_mixer.proj, block.layer_scale_1)
    block.layer_scale_2 = fold_scale(block.mlp.fc2, block.layer_scale_2)
    if not isinstance(block.norm, nn.Identity):
        fold_in_front(block.norm, block.token_mixer.qkv)
        block.norm = nn.Identity()


def fold_behind_mlp(block):
    block.layer_scale = fold_scale(block.mlp.fc2, block.layer_scale)


FORMS = {Layer: Layer.merge, RepMixer: merge_mixer, LargeKernel: merge_kernels, PositionEncoding: merge_shortcut,
         AttentionBlock: fold_around_attention, RepMixerBlock: fold_behind_mlp}
