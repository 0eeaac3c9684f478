"""MobileOne, https://arxiv.org/abs/2206.04040. Sub-layers bear the names of timm's `mobileone_*` checkpoints.

MobileNetV1's chain of depthwise and 1x1 convolutions, without shortcuts in inference. In training, each convolution is a sum of
branches, see `MobileOneBlock` in `layers/reparameterized.py`; `reparameterize.py` merges them.

- *Blocks.* The four stages have 2, 8, 10 and 1 blocks in all variants. A block is a depthwise layer and a 1x1 layer. The stem
  has a single branch and at most 64 channels.
- *Gates.* In S4, half of the third stage's blocks and the fourth stage's block have squeeze-and-excitation, to a sixteenth of
  the channels, behind both of their layers.
- *Initial weights* are PyTorch's, as in the authors' code.
"""
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import ChannelGates, MobileOneBlock, Network, Stage, pytorch_uniform

CHANNELS, DEPTHS = (64, 128, 256, 512), (2, 8, 10, 1)              # per stage, at widths of 1


class Layer(MobileOneBlock):
    """Branches, optional gates, ReLU: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride=1, groups=1, branches=1, gated=False):
        super().__init__(in_channels, out_channels, kernel, stride, groups, branches)
        self.attn = ChannelGates(out_channels, out_channels // 16) if gated else nn.Identity()

    def forward(self, x):
        return F.relu(self.attn(self.mixed(x)))


class MobileOne(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        widths: per stage, the multiplier of its 64, 128, 256 or 512 channels.
        branches: parallel convolutions in each layer behind the stem, in training.
        gated: per stage, how many of its blocks, the last ones, have gates.
        dropout: probability in front of the classifier.
    """

    key_style = 'timm'
    classifier_layers = ('head',)  # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, widths=(0.75, 1.0, 1.0, 2.0), branches=4, gated=(0, 0, 0, 0),
                 dropout=0.0):
        super().__init__()
        before = min(64, int(CHANNELS[0] * widths[0]))
        self.stem = Layer(in_channels, before, 3, 2)
        stages, channels = [], [int(full * width) for full, width in zip(CHANNELS, widths)]
        for after, depth, count in zip(channels, DEPTHS, gated):
            layers = []
            for i in range(depth):
                gates = i >= depth - count
                layers += [Layer(before, before, 3, 2 if i == 0 else 1, before, branches, gates),
                           Layer(before, after, 1, 1, 1, branches, gates)]
                before = after
            stages.append(Stage(*layers))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(('drop', nn.Dropout(dropout)), ('fc', self.linear(before, num_classes)))
        self.feature_channels, self.feature_strides = [self.stem.form[1], *channels], [2, 4, 8, 16, 32]
        self.feature_layers = [['stem'], *([f'stages.{i}'] for i in range(4))]

    @staticmethod
    def linear(in_features, out_features):
        init = pytorch_uniform(in_features)
        return nn.Linear(in_features, out_features, weight_attr=init, bias_attr=init)

    def forward_intermediates(self, x):
        """List of maps, one from the stem and one per stage: `feature_channels`, `feature_strides`."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def forward_features(self, x):
        """Last map (B, C, H/32, W/32)."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))

    def replace_classifier(self, num_classes):
        self.head.fc = self.linear(self.feature_channels[-1], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model, mobileone = cfg.MODEL, cfg.MODEL.MOBILEONE
    return MobileOne(model.NUM_CLASSES, model.IN_CHANNELS, mobileone.WIDTHS, mobileone.BRANCHES, mobileone.GATED, model.DROPOUT)
