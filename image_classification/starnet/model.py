"""StarNet, https://arxiv.org/abs/2403.19967. Sub-layers bear the names of the ma-xu/Rewrite-the-Stars checkpoints, as in timm.

The star operation multiplies the outputs of two 1x1 convolutions of the same map. The product has as many implicit dimensions
as there are pairs of channels. Otherwise a block has only two 7x7 depthwise convolutions, and a 1x1 convolution between them.

- *Biases.* All convolutions have a bias, even in front of a batch norm, where it has no effect.
- *Initial weights.* The authors' code intends to draw all weights with a standard deviation of 0.02, but reaches only the
  linear layer; convolutions keep PyTorch's. So it is here. timm draws all of them.
- *Stochastic depth*: the rate rises from 0 to 0.1 in S4; the others have none.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import DropPath, Network, Stage, batch_norm, pytorch_conv2d

STEM = 32                                                          # channels


class ConvNorm(nn.Sequential):
    """Convolution and optional batch norm: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel=1, stride=1, groups=1, norm=True):
        conv = pytorch_conv2d(in_channels, out_channels, kernel, stride, groups, bias=True)
        super().__init__(('conv', conv), *[('bn', batch_norm(out_channels))] * norm)


class Block(nn.Layer):
    """(B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim, expansion, drop_path):
        super().__init__()
        self.dwconv = ConvNorm(dim, dim, 7, groups=dim)
        self.f1 = ConvNorm(dim, expansion * dim, norm=False)
        self.f2 = ConvNorm(dim, expansion * dim, norm=False)
        self.g = ConvNorm(expansion * dim, dim)
        self.dwconv2 = ConvNorm(dim, dim, 7, groups=dim, norm=False)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        y = self.dwconv(x)
        y = F.relu6(self.f1(y)) * self.f2(y)                       # the star: (B, expansion * C, H, W)
        return x + self.drop_path(self.dwconv2(self.g(y)))


class StarNet(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        dim: channels of the first stage, doubled in each further one.
        depths: blocks per stage.
        expansion: channels of the product / channels of a block.
        dropout: probability in front of the classifier.
        drop_path: rate in the last block; it rises linearly from 0 in the first.
    """

    key_style = 'official'
    classifier_layers = ('head',)  # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, dim=24, depths=(2, 2, 8, 3), expansion=4, dropout=0.0, drop_path=0.0):
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(in_channels, STEM, 3, 2), nn.ReLU6())
        dims = [dim * 2 ** i for i in range(len(depths))]
        rates = iter(drop_path * i / max(sum(depths) - 1, 1) for i in range(sum(depths)))
        self.stages = nn.LayerList([
            Stage(ConvNorm(before, after, 3, 2), *[Block(after, expansion, next(rates)) for _ in range(depth)])
            for before, after, depth in zip([STEM, *dims], dims, depths)])
        self.norm = batch_norm(dims[-1])
        self.dropout = nn.Dropout(dropout)
        self.feature_channels, self.feature_strides = dims, [4 * 2 ** i for i in range(len(dims))]
        self.feature_layers = [[f'stages.{i}'] for i in range(len(dims))]
        self.feature_layers[0].insert(0, 'stem')
        self.finer_channels, self.finer_strides = [STEM], [2]
        self.replace_classifier(num_classes)

    def forward_finer(self, x):
        """List of maps: the stem's, then those of `forward_intermediates`."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        return self.forward_finer(x)[1:]

    def forward_features(self, x):
        """Last map (B, C, H/32, W/32), normalized."""
        return self.norm(self.forward_finer(x)[-1])

    def forward_head(self, features):
        return self.head(self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1)))

    def replace_classifier(self, num_classes):
        self.head = nn.Linear(self.feature_channels[-1], num_classes, bias_attr=nn.initializer.Constant(0.0),
                              weight_attr=nn.initializer.TruncatedNormal(std=0.02))


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model, starnet = cfg.MODEL, cfg.MODEL.STARNET
    return StarNet(model.NUM_CLASSES, model.IN_CHANNELS, starnet.DIM, starnet.DEPTHS, starnet.EXPANSION, model.DROPOUT,
                   model.DROPPATH)
