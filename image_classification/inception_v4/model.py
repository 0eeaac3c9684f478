"""Inception-v4, https://arxiv.org/abs/1602.07261, section 3.1. Sub-layers bear the names of timm's `inception_v4`.

Details:

- *Stem and reductions have no padding*, so maps are a little smaller than H / stride: 299 gives 147, 71, 35, 17 and 8.
- *The average pools do not count the padding*, which is Paddle's default; those of Inception v3 do.
- *The map at stride 4 is the stem's last one at this stride* (192 channels, 71 x 71). timm returns the one before (160
  channels, 73 x 73).
- The network has no residual branches, so `MODEL.DROPPATH` has no effect.
"""
from functools import partial

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import BasicConv2d, Branches, Network, Stage, by_level, check_size, pytorch_uniform

SMALLEST = 75                                                      # pixels per side; below it no map reaches the C blocks
# PyTorch's default: uniform within +-1 / sqrt(fan_in).
PYTORCH = nn.initializer.KaimingUniform(negative_slope=5 ** 0.5, nonlinearity='leaky_relu')
ConvNormAct = partial(BasicConv2d, init=PYTORCH)


def pool_branch(in_channels, out_channels):
    return nn.Sequential(nn.AvgPool2D(3, 1, padding=1), ConvNormAct(in_channels, out_channels, 1))


def mixed_3a():
    """Stem: (B, 64, H, W) -> (B, 160, (H - 1) // 2, (W - 1) // 2)."""
    return Branches(maxpool=nn.MaxPool2D(3, 2), conv=ConvNormAct(64, 96, 3, stride=2))


def mixed_4a():
    """Stem: (B, 160, H, W) -> (B, 192, H - 2, W - 2)."""
    return Branches(
        branch0=nn.Sequential(ConvNormAct(160, 64, 1), ConvNormAct(64, 96, 3)),
        branch1=nn.Sequential(ConvNormAct(160, 64, 1), ConvNormAct(64, 64, (1, 7), same=True),
                              ConvNormAct(64, 64, (7, 1), same=True), ConvNormAct(64, 96, 3)))


def mixed_5a():
    """Stem: (B, 192, H, W) -> (B, 384, (H - 1) // 2, (W - 1) // 2)."""
    return Branches(conv=ConvNormAct(192, 192, 3, stride=2), maxpool=nn.MaxPool2D(3, 2))


def inception_a():
    """Figure 4: (B, 384, H, W) -> the same."""
    return Branches(
        branch0=ConvNormAct(384, 96, 1),
        branch1=nn.Sequential(ConvNormAct(384, 64, 1), ConvNormAct(64, 96, 3, same=True)),
        branch2=nn.Sequential(ConvNormAct(384, 64, 1), ConvNormAct(64, 96, 3, same=True), ConvNormAct(96, 96, 3, same=True)),
        branch3=pool_branch(384, 96))


def reduction_a():
    """Figure 7: (B, 384, H, W) -> (B, 1024, (H - 1) // 2, (W - 1) // 2)."""
    return Branches(
        branch0=ConvNormAct(384, 384, 3, stride=2),
        branch1=nn.Sequential(ConvNormAct(384, 192, 1), ConvNormAct(192, 224, 3, same=True),
                              ConvNormAct(224, 256, 3, stride=2)),
        branch2=nn.MaxPool2D(3, 2))


def inception_b():
    """Figure 5: (B, 1024, H, W) -> the same."""
    return Branches(
        branch0=ConvNormAct(1024, 384, 1),
        branch1=nn.Sequential(ConvNormAct(1024, 192, 1), ConvNormAct(192, 224, (1, 7), same=True),
                              ConvNormAct(224, 256, (7, 1), same=True)),
        branch2=nn.Sequential(ConvNormAct(1024, 192, 1), ConvNormAct(192, 192, (7, 1), same=True),
                              ConvNormAct(192, 224, (1, 7), same=True), ConvNormAct(224, 224, (7, 1), same=True),
                              ConvNormAct(224, 256, (1, 7), same=True)),
        branch3=pool_branch(1024, 128))


def reduction_b():
    """Figure 8: (B, 1024, H, W) -> (B, 1536, (H - 1) // 2, (W - 1) // 2)."""
    return Branches(
        branch0=nn.Sequential(ConvNormAct(1024, 192, 1), ConvNormAct(192, 192, 3, stride=2)),
        branch1=nn.Sequential(ConvNormAct(1024, 256, 1), ConvNormAct(256, 256, (1, 7), same=True),
                              ConvNormAct(256, 320, (7, 1), same=True), ConvNormAct(320, 320, 3, stride=2)),
        branch2=nn.MaxPool2D(3, 2))


class InceptionC(nn.Layer):
    """Figure 6: two branches end in a 1x3 and a 3x1 in parallel: (B, 1536, H, W) -> the same."""

    def __init__(self):
        super().__init__()
        self.branch0 = ConvNormAct(1536, 256, 1)
        self.branch1_0 = ConvNormAct(1536, 384, 1)
        self.branch1_1a = ConvNormAct(384, 256, (1, 3), same=True)
        self.branch1_1b = ConvNormAct(384, 256, (3, 1), same=True)
        self.branch2_0 = ConvNormAct(1536, 384, 1)
        self.branch2_1 = ConvNormAct(384, 448, (3, 1), same=True)
        self.branch2_2 = ConvNormAct(448, 512, (1, 3), same=True)
        self.branch2_3a = ConvNormAct(512, 256, (1, 3), same=True)
        self.branch2_3b = ConvNormAct(512, 256, (3, 1), same=True)
        self.branch3 = pool_branch(1536, 256)

    def forward(self, x):
        short = self.branch1_0(x)
        long = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        return paddle.concat([self.branch0(x), self.branch1_1a(short), self.branch1_1b(short),
                              self.branch2_3a(long), self.branch2_3b(long), self.branch3(x)], axis=1)


class InceptionV4(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); H and W of at least 75.

    Args:
        depths: number of A, B and C blocks.
        dropout: probability in front of the classifier; the paper's is 0.2.
    """

    def __init__(self, num_classes=1000, in_channels=3, depths=(4, 7, 3), dropout=0.2):
        super().__init__()
        a, b, c = depths
        self.features = Stage(
            ConvNormAct(in_channels, 32, 3, stride=2), ConvNormAct(32, 32, 3), ConvNormAct(32, 64, 3, same=True),  # stride 2
            mixed_3a(), mixed_4a(),                                # 4
            mixed_5a(), *(inception_a() for _ in range(a)),        # 8
            reduction_a(), *(inception_b() for _ in range(b)),     # 16
            reduction_b(), *(InceptionC() for _ in range(c)))      # 32
        self.dropout = nn.Dropout(dropout)
        self.num_features = 1536
        self.replace_classifier(num_classes)
        self.levels = [2, 4, 5 + a, 6 + a + b, 7 + a + b + c]      # the last layer of `features` at each stride
        self.feature_channels = [64, 192, 384, 1024, 1536]
        self.feature_strides = [2, 4, 8, 16, 32]
        self.feature_layers = by_level(self.levels, [[f'features.{i}'] for i in range(len(self.features))])

    key_style = 'timm'
    classifier_layers = ('last_linear',)  # what a new number of classes replaces

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        check_size(x, SMALLEST, 'Inception-v4')
        return self.features.outputs(self.levels, x)

    def forward_features(self, x):
        """(B, 1536, H', W'), 8 x 8 for 299 x 299."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.last_linear(self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1)))

    def replace_classifier(self, num_classes):
        self.last_linear = nn.Linear(self.num_features, num_classes, weight_attr=PYTORCH,
                                     bias_attr=pytorch_uniform(self.num_features))


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    if len(model.DEPTHS) != 3:
        raise UserError(f'MODEL.DEPTHS is {model.DEPTHS}; wanted three numbers, of A, B and C blocks')
    return InceptionV4(num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, depths=model.DEPTHS,
                       dropout=model.DROPOUT)
