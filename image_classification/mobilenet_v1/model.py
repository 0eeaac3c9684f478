"""MobileNetV1, https://arxiv.org/abs/1704.04861. Sub-layers bear the names of timm's `mobilenetv1_*` checkpoints.

A plain stack of depthwise separable convolutions without shortcuts. Where the sources differ:

- *Activation.* The paper and the original tutorial code use ReLU. TensorFlow's code and timm's weights use ReLU6, and so does
  this network. The weights of PaddleClas and paddle.vision need ReLU; loading them sets `ACTIVATION`.
- *Biases.* In the tutorial, 1x1 convolutions have biases in front of batch norm, depthwise ones have none. Here none has one.
- *Stride and classes.* The tutorial's stem has stride 1 for CIFAR's 32-pixel images and 100 classes. Here it has stride 2, as
  published, for any number of classes. Small images should be enlarged.
- *Input size.* The paper's 7 x 7 average pool is a global one here. At 224 pixels both are the same; other sizes work, too.
"""
from math import sqrt

import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import Conv2D, Network, Stage, make_divisible

ACTIVATIONS = {'relu6': F.relu6, 'relu': F.relu}
STEM = 32                                                          # channels at width 1
STAGES = [(64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2)]  # channels, blocks, stride of the first block


def conv2d(in_channels, out_channels, kernel, stride=1, groups=1):
    """A convolution without bias, padded by half its kernel and initialised by its fan-out."""
    fan_out = kernel * kernel * out_channels // groups
    return Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias_attr=False,
                  weight_attr=nn.initializer.Normal(std=sqrt(2.0 / fan_out)))


def batch_norm(channels):
    return nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-5)


def linear(in_features, out_features):
    bound = 1.0 / sqrt(out_features)
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Uniform(-bound, bound),
                     bias_attr=nn.initializer.Constant(0.0))


class DepthwiseSeparableConv(nn.Layer):
    """3x3 depthwise, then 1x1, each with batch norm and activation: (B, C, H, W) -> (B, C', H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, stride, activation):
        super().__init__()
        self.act = activation
        self.conv_dw = conv2d(in_channels, in_channels, 3, stride, groups=in_channels)
        self.bn1 = batch_norm(in_channels)
        self.conv_pw = conv2d(in_channels, out_channels, 1)
        self.bn2 = batch_norm(out_channels)

    def forward(self, x):
        x = self.act(self.bn1(self.conv_dw(x)))
        return self.act(self.bn2(self.conv_pw(x)))


class MobileNetV1(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); any H and W.

    Args:
        width: multiplier of all channels.
        dropout: probability in front of the classifier.
        activation: relu6 or relu.
    """

    key_style = 'timm'
    classifier_layers = ('classifier',)  # what a new number of classes replaces

    def __init__(self, num_classes=1000, in_channels=3, width=1.0, dropout=0.0, activation='relu6'):
        super().__init__()
        self.act = act = ACTIVATIONS[activation]
        before = make_divisible(STEM * width)
        self.conv_stem = conv2d(in_channels, before, 3, 2)
        self.bn1 = batch_norm(before)
        stages, strides = [], [2]
        self.feature_channels = []
        for channels, depth, stride in STAGES:
            after = make_divisible(channels * width)
            first = DepthwiseSeparableConv(before, after, stride, act)
            stages.append(Stage(first, *[DepthwiseSeparableConv(after, after, 1, act) for _ in range(depth - 1)]))
            strides.append(strides[-1] * stride)
            self.feature_channels.append(after)
            before = after
        self.blocks = nn.Sequential(*stages)
        self.feature_strides = strides[1:]                         # stages: 2, 4, 8, 16, 32
        self.feature_layers = [[f'blocks.{i}'] for i in range(len(stages))]
        self.feature_layers[0] += ['conv_stem', 'bn1']
        self.dropout = nn.Dropout(dropout)
        self.classifier = linear(before, num_classes)

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        maps = [self.act(self.bn1(self.conv_stem(x)))]
        for stage in self.blocks:
            maps.append(stage(maps[-1]))
        return maps[1:]

    def forward_features(self, x):
        """Last map (B, C, H/32, W/32)."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, x):
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)            # (B, C)
        return self.classifier(self.dropout(pooled))

    def replace_classifier(self, num_classes):
        self.classifier = linear(self.feature_channels[-1], num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return MobileNetV1(model.NUM_CLASSES, model.IN_CHANNELS, model.WIDTH, model.DROPOUT, model.ACTIVATION)
