"""Inception-v2, https://arxiv.org/abs/1512.00567, table 1. No weights were published; names are like those of Inception v3.

How this network is built:

- *The paper describes the stem, the kinds of blocks and the sizes of the maps between them, but not the widths within a block.*
  The widths here give the cost that the paper states: 2.5 times GoogLeNet, 3.8 G multiply-adds.
- *The reductions are separate blocks* (figure 10), between the 3, 5 and 2 blocks that the table counts.
- *Stem and reductions have no padding, except in two convolutions*, so maps are a little smaller than H / stride: 299 gives
  147, 71, 35, 17 and 8.
- *There is no auxiliary head*; in the paper, only Inception v3 has one. The network that the original tutorial code calls
  Inception-v2 is Inception-ResNet-v2.
- The network has no residual branches, so `MODEL.DROPPATH` has no effect.
"""
from functools import partial

import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import BasicConv2d, Branches, Network, Stage, check_size

SMALLEST = 75                                                      # pixels per side; below it no map reaches Mixed_7
INIT = nn.initializer.TruncatedNormal(std=0.1)
Conv = partial(BasicConv2d, init=INIT)


def pool_branch(in_channels, out_channels):
    return nn.Sequential(nn.AvgPool2D(3, 1, padding=1), Conv(in_channels, out_channels, 1))


def figure_5():
    """GoogLeNet's block with the 5x5 as two 3x3: (B, 288, H, W) -> the same."""
    return Branches(
        branch1x1=Conv(288, 96, 1),
        branch3x3=nn.Sequential(Conv(288, 48, 1), Conv(48, 96, 3, same=True)),
        branch3x3dbl=nn.Sequential(Conv(288, 32, 1), Conv(32, 48, 3, same=True),
                                   Conv(48, 48, 3, same=True)),
        branch_pool=pool_branch(288, 48))


def figure_6():
    """n x n as 1 x n and n x 1, with n = 7: (B, 768, H, W) -> the same."""
    return Branches(
        branch1x1=Conv(768, 192, 1),
        branch7x7=nn.Sequential(Conv(768, 48, 1), Conv(48, 48, (1, 7), same=True),
                                Conv(48, 192, (7, 1), same=True)),
        branch7x7dbl=nn.Sequential(Conv(768, 48, 1), Conv(48, 48, (7, 1), same=True),
                                   Conv(48, 48, (1, 7), same=True), Conv(48, 48, (7, 1), same=True),
                                   Conv(48, 192, (1, 7), same=True)),
        branch_pool=pool_branch(768, 192))


def spread(in_channels, out_channels):
    """1x3 and 3x1 in parallel, the expanded filter bank: (B, C, H, W) -> (B, 2 * out_channels, H, W)."""
    return Branches(wide=Conv(in_channels, out_channels, (1, 3), same=True),
                    tall=Conv(in_channels, out_channels, (3, 1), same=True))


def figure_7(in_channels):
    """Expanded filter banks on the coarsest map: (B, C, H, W) -> (B, 2048, H, W)."""
    return Branches(
        branch1x1=Conv(in_channels, 320, 1),
        branch3x3=nn.Sequential(Conv(in_channels, 192, 1), spread(192, 384)),
        branch3x3dbl=nn.Sequential(Conv(in_channels, 192, 1), Conv(192, 384, 3, same=True), spread(384, 384)),
        branch_pool=pool_branch(in_channels, 192))


def reduction_a():
    """Figure 10: (B, 288, H, W) -> (B, 768, (H - 1) // 2, (W - 1) // 2)."""
    return Branches(
        branch3x3=nn.Sequential(Conv(288, 96, 1), Conv(96, 288, 3, stride=2)),
        branch3x3dbl=nn.Sequential(Conv(288, 64, 1), Conv(64, 96, 3, same=True),
                                   Conv(96, 192, 3, stride=2)),
        branch_pool=nn.MaxPool2D(3, 2))


def reduction_b():
    """Figure 10 with 7x7 in its double branch: (B, 768, H, W) -> (B, 1280, (H - 1) // 2, (W - 1) // 2)."""
    return Branches(
        branch3x3=nn.Sequential(Conv(768, 128, 1), Conv(128, 256, 3, stride=2)),
        branch7x7x3=nn.Sequential(Conv(768, 128, 1), Conv(128, 128, (1, 7), same=True),
                                  Conv(128, 128, (7, 1), same=True), Conv(128, 256, 3, stride=2)),
        branch_pool=nn.MaxPool2D(3, 2))


class InceptionV2(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); H and W of at least 75.

    Args:
        depths: number of blocks as in figures 5, 6 and 7; at least one of the last kind.
        dropout: probability in front of the classifier.
    """

    def __init__(self, num_classes=1000, in_channels=3, depths=(3, 5, 2), dropout=0.2):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(in_channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, same=True)
        self.maxpool = nn.MaxPool2D(3, 2)
        self.Conv2d_3a_3x3 = Conv(64, 80, 3)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, stride=2)
        self.Conv2d_4b_3x3 = Conv(192, 288, 3, same=True)
        self.Mixed_5 = Stage(*(figure_5() for _ in range(depths[0])))
        self.Reduction_6 = reduction_a()
        self.Mixed_6 = Stage(*(figure_6() for _ in range(depths[1])))
        self.Reduction_7 = reduction_b()
        self.Mixed_7 = Stage(figure_7(1280), *(figure_7(2048) for _ in range(depths[2] - 1)))
        self.dropout = nn.Dropout(dropout)
        self.replace_classifier(num_classes)
        self.feature_channels = [64, 80, 288, 768, 2048]
        self.feature_strides = [2, 4, 8, 16, 32]

    feature_layers = [['Conv2d_1a_3x3', 'Conv2d_2a_3x3', 'Conv2d_2b_3x3'], ['Conv2d_3a_3x3'],
                      ['Conv2d_4a_3x3', 'Conv2d_4b_3x3', 'Mixed_5'], ['Reduction_6', 'Mixed_6'], ['Reduction_7', 'Mixed_7']]
    classifier_layers = ('fc',)  # what a new number of classes replaces

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        check_size(x, SMALLEST, 'Inception-v2')
        s2 = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        s4 = self.Conv2d_3a_3x3(self.maxpool(s2))
        s8 = self.Mixed_5(self.Conv2d_4b_3x3(self.Conv2d_4a_3x3(s4)))
        s16 = self.Mixed_6(self.Reduction_6(s8))
        s32 = self.Mixed_7(self.Reduction_7(s16))
        return [s2, s4, s8, s16, s32]

    def forward_features(self, x):
        """(B, 2048, H', W'), 8 x 8 for 299 x 299."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.fc(self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1)))

    def replace_classifier(self, num_classes):
        self.fc = nn.Linear(2048, num_classes, weight_attr=INIT, bias_attr=nn.initializer.Constant(0.0))


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    if len(model.DEPTHS) != 3 or model.DEPTHS[2] < 1:
        raise UserError(f'MODEL.DEPTHS is {model.DEPTHS}; wanted three numbers of blocks, the last at least 1')
    return InceptionV2(num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, depths=model.DEPTHS, dropout=model.DROPOUT)
