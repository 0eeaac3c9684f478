"""EfficientNet-Lite: EfficientNet (https://arxiv.org/abs/1905.11946) for phones and 8-bit inference. Sub-layers bear the names
of timm's `tf_efficientnet_lite*` checkpoints.

Inverted residuals, scaled in width and depth together. TensorFlow's authors adapted them to phones
(https://github.com/tensorflow/tpu, models/official/efficientnet/lite):

- *No squeeze-and-excitation, and ReLU6* instead of swish: so the range of 8-bit values is known in advance.
- *Stem and head keep their width*, and the first and last stage their single block, at every scale.
- *Padding is TensorFlow's "same"*: with stride 2 and an even size, the end gets one pixel more than the beginning.
- *Batch norms* have TensorFlow's epsilon and timm's momentum. TensorFlow's momentum of 0.99 needs many thousand training steps.
- *Input size.* The authors' table has 280 and 300 pixels for lite3 and lite4. timm's weights are for 300 and 380.
"""
from math import ceil, sqrt

import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import (Conv2D, DropPath, Network, Stage, by_level, levels_of, make_divisible,
                                         pytorch_uniform)

STEM, LAST = 32, 1280                                              # channels at every width
STAGES = [  # expansion, channels, blocks, stride of the first block, kernel: the table of the paper's B0
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3)]


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1):
    """A convolution without bias: (B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
    fan_out = kernel * kernel * out_channels // groups
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2 if stride == 1 else 'SAME', groups=groups,
                  bias_attr=False, weight_attr=nn.initializer.Normal(std=sqrt(2.0 / fan_out)))


def batch_norm(channels):
    return nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-3)


def linear(in_features, out_features):
    """The classifier, initialised as in PyTorch. TensorFlow's range, 1 / sqrt(classes), is about the same for 1,000 classes but
    far too large for a few."""
    return nn.Linear(in_features, out_features, weight_attr=pytorch_uniform(in_features),
                     bias_attr=nn.initializer.Constant(0.0))


class DepthwiseSeparable(nn.Layer):
    """The first block: depthwise, then 1x1 without activation: (B, C, H, W) -> (B, out_channels, H, W)."""

    def __init__(self, in_channels, out_channels, kernel):
        super().__init__()
        self.conv_dw = conv2d(in_channels, in_channels, kernel, groups=in_channels)
        self.bn1 = batch_norm(in_channels)
        self.conv_pw = conv2d(in_channels, out_channels, 1)
        self.bn2 = batch_norm(out_channels)

    def forward(self, x):
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))


class InvertedResidual(nn.Layer):
    """1x1 up, depthwise, 1x1 down: (B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, in_channels, out_channels, kernel, stride, expansion, drop_path):
        super().__init__()
        hidden = in_channels * expansion
        self.conv_pw = conv2d(in_channels, hidden, 1)
        self.bn1 = batch_norm(hidden)
        self.conv_dw = conv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.bn2 = batch_norm(hidden)
        self.conv_pwl = conv2d(hidden, out_channels, 1)
        self.bn3 = batch_norm(out_channels)
        self.shortcut = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path if self.shortcut else 0.0)

    def forward(self, x):
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = F.relu6(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + self.drop_path(y) if self.shortcut else y


class EfficientNetLite(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        width: multiplier of the stages' channels.
        depth: multiplier of the stages' blocks, rounded up; the first and last stage keep one block.
        dropout: probability in front of the classifier.
        drop_path: probability that a sample skips the last residual branch; it rises linearly from 0 in the first block.
    """

    key_style = 'timm'
    classifier_layers = ('classifier',)  # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, width=1.0, depth=1.0, dropout=0.2, drop_path=0.0):
        super().__init__()
        self.conv_stem = conv2d(in_channels, STEM, 3, 2)
        self.bn1 = batch_norm(STEM)
        depths = [1, *(ceil(blocks * depth) for _, _, blocks, _, _ in STAGES[1:-1]), 1]
        stages, before, number = [], STEM, 0
        for (expansion, channels, _, stride, kernel), blocks in zip(STAGES, depths):
            after, layers = make_divisible(channels * width), []
            for i in range(blocks):
                rate = drop_path * number / (sum(depths) - 1)
                layers.append(DepthwiseSeparable(before, after, kernel) if expansion == 1 else InvertedResidual(
                    before, after, kernel, stride if i == 0 else 1, expansion, rate))
                before, number = after, number + 1
            stages.append(Stage(*layers))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = conv2d(before, LAST, 1)
        self.bn2 = batch_norm(LAST)
        self.dropout = nn.Dropout(dropout)
        self.classifier = linear(LAST, num_classes)
        levels, strides = levels_of([2 * STAGES[0][3], *(stage[3] for stage in STAGES[1:])])
        self.levels, self.feature_strides = levels, strides        # the last stage at each stride
        self.feature_channels = [make_divisible(STAGES[i][1] * width) for i in levels]
        self.feature_layers = by_level(levels, [[f'blocks.{i}'] for i in range(len(stages))])
        self.feature_layers[0] += ['conv_stem', 'bn1']

    def forward_intermediates(self, x):
        """List of maps, one from the last stage at each stride: `feature_channels`, `feature_strides`. The output of the wide
        convolution in front of the classifier is not among them."""
        x, maps = F.relu6(self.bn1(self.conv_stem(x))), []
        for stage in self.blocks:
            x = stage(x)
            maps.append(x)
        return [maps[i] for i in self.levels]

    def forward_features(self, x):
        """Last map (B, 1280, H/32, W/32)."""
        return F.relu6(self.bn2(self.conv_head(self.forward_intermediates(x)[-1])))

    def forward_head(self, features):
        pooled = F.adaptive_avg_pool2d(features, 1).flatten(1)     # (B, 1280)
        return self.classifier(self.dropout(pooled))

    def replace_classifier(self, num_classes):
        self.classifier = linear(LAST, num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return EfficientNetLite(model.NUM_CLASSES, model.IN_CHANNELS, model.WIDTH, model.DEPTH, model.DROPOUT, model.DROPPATH)
