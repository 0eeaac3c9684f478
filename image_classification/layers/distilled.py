"""Common parts of EfficientFormerV2 and SwiftFormer, two distilled families. Sub-layers bear the names of their checkpoints."""
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.convolution import conv_bn
from image_classification.layers.initializers import set_parameter
from image_classification.layers.network import Network


class Stem(nn.Sequential):
    """Two convolutions of stride 2, each with its batch norm and activation: (B, C, H, W) -> (B, C', H / 4, W / 4)."""

    def forward(self, x):
        first, norm1, act1, second, norm2, act2 = self
        return act2(conv_bn(act1(conv_bn(x, first, norm1)), second, norm2))


class Embedding(nn.Layer):
    """A convolution of stride 2 and its batch norm: (B, C, H, W) -> (B, C', ceil(H / 2), ceil(W / 2))."""

    def __init__(self, proj, norm):
        super().__init__()
        self.proj, self.norm = proj, norm

    def forward(self, x):
        return conv_bn(x, self.proj, self.norm)


class DistilledNetwork(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes).

    With `distilled`, training gives (logits, logits of the classifier that learns from a teacher), evaluation their mean.
    Args:
        patch_embed: computes the map of stride 4.
        layers: four stages with a layer that halves the map between each two of them.
        norm: applied to the last map.
        dims: channels of the stages.
        dropout: probability in front of the classifiers.
    """

    key_style = 'official'
    feature_strides = [4, 8, 16, 32]
    feature_layers = [['patch_embed', 'network.0'], ['network.1', 'network.2'], ['network.3', 'network.4'],
                      ['network.5', 'network.6']]

    def __init__(self, patch_embed, layers, norm, dims, num_classes, distilled, dropout):
        super().__init__()
        self.patch_embed = patch_embed
        self.network = nn.LayerList(layers)
        self.norm = norm
        self.dropout = nn.Dropout(dropout)
        self.distilled, self.feature_channels = distilled, list(dims)
        self.replace_classifier(num_classes)

    @property
    def classifier_layers(self):
        """The layers that a new number of classes replaces."""
        return ('head', 'dist_head') if self.distilled else ('head',)

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        x, maps = self.patch_embed(x), []
        for i, layer in enumerate(self.network):
            x = layer(x)
            if i % 2 == 0:
                maps.append(x)
        return maps

    def forward_features(self, x):
        """The last map (B, C, H / 32, W / 32), normalized."""
        return self.norm(self.forward_intermediates(x)[-1])

    def forward_head(self, features):
        pooled = self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1))   # (B, C)
        return self.of_two_heads(self.head(pooled), self.dist_head(pooled)) if self.distilled else self.head(pooled)

    def replace_classifier(self, num_classes):
        """Put in fresh classifiers."""
        for name in self.classifier_layers:
            setattr(self, name, nn.Linear(self.feature_channels[-1], num_classes, weight_attr=nn.initializer.TruncatedNormal(std=0.02),
                                          bias_attr=nn.initializer.Constant(0.0)))


def one_classifier(network, first, second):
    """One linear layer that gives the mean of two. Marks `network` as no longer distilled."""
    mean = nn.Linear(*first.weight.shape)
    for name in ('weight', 'bias'):
        set_parameter(mean, name, (getattr(first, name) + getattr(second, name)) / 2)
    network.distilled = False
    return mean


def average_heads(network):
    """Prepare a DistilledNetwork for evaluation: one classifier that gives the mean of both."""
    if network.distilled and hasattr(network, 'dist_head'):        # missing with features_only
        network.head = one_classifier(network, network.head, network.dist_head)
        del network.dist_head


def fold_scale(layer, factor):
    """Multiply the output of a convolution, linear layer or batch norm by `factor` (C, 1, 1), through its weights and bias."""
    convolution = isinstance(layer, nn.Conv2D)                     # weights (C, C', h, w); of the others (C', C) or (C,)
    layer.weight.set_value(layer.weight * (factor.unsqueeze(1) if convolution else factor.flatten()))
    layer.bias.set_value(layer.bias * factor.flatten())
