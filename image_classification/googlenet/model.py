"""GoogLeNet (Inception v1), https://arxiv.org/abs/1409.4842. Sub-layers bear the names of torchvision's checkpoint.

torchvision's network has batch norm, unlike the paper's, and its weights were ported from TensorFlow. Details:

- *The "5x5" branch is a 3x3 convolution*, an error of the port. Kept, because the weights depend on it.
- *torchvision's `transform_input` is not part of the network here.* It converts ImageNet's normalization to (x - 0.5) / 0.5;
  the preprocessing of the variant applies the latter directly. With it, the published weights reach their published accuracy.
- *torchvision's named output calls the first auxiliary logits `aux_logits2`* and the second `aux_logits1`. The order is the
  same here: final logits, those behind inception4a, those behind inception4d.
- The network has no residual branches, so `MODEL.DROPPATH` has no effect.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import Conv2D, Network, check_size, pytorch_uniform

SMALLEST = 15                                                      # pixels per side; below it no map reaches inception4a


def linear(in_features, out_features):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.TruncatedNormal(std=0.01),
                     bias_attr=pytorch_uniform(in_features))


class BasicConv2d(nn.Sequential):
    """Convolution without bias, batch norm, ReLU: (B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, in_channels, out_channels, kernel, stride=1):
        conv = Conv2D(in_channels, out_channels, kernel, stride, kernel // 2, bias_attr=False,
                      weight_attr=nn.initializer.TruncatedNormal(std=0.01))
        super().__init__(('conv', conv), ('bn', nn.BatchNorm2D(out_channels, epsilon=1e-3)), ('relu', nn.ReLU()))


class Inception(nn.Layer):
    """Branches 1x1, 1x1 - 3x3, 1x1 - "5x5" and pool - 1x1: (B, C, H, W) -> (B, c1 + c3 + c5 + c_pool, H, W)."""

    def __init__(self, in_channels, c1, c3_reduced, c3, c5_reduced, c5, c_pool):
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, c1, 1)
        self.branch2 = nn.Sequential(BasicConv2d(in_channels, c3_reduced, 1), BasicConv2d(c3_reduced, c3, 3))
        self.branch3 = nn.Sequential(BasicConv2d(in_channels, c5_reduced, 1), BasicConv2d(c5_reduced, c5, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2D(3, 1, padding=1), BasicConv2d(in_channels, c_pool, 1))

    def forward(self, x):
        return paddle.concat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], axis=1)


class InceptionAux(nn.Layer):
    """Auxiliary head: (B, C, H, W) -> logits (B, num_classes). Pools to 4x4."""

    def __init__(self, in_channels, num_classes, dropout):
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, 1)
        self.fc1 = linear(128 * 4 * 4, 1024)
        self.fc2 = linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)      # (B, 128 * 4 * 4)
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


class GoogLeNet(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); H and W of at least 15.

    With `aux_logits`, training gives (logits, logits behind inception4a, logits behind inception4d). The paper adds the losses
    of the auxiliary logits with weight 0.3.
    Args:
        dropout, dropout_aux: probabilities in front of the final and of the auxiliary classifiers.
    """

    def __init__(self, num_classes=1000, in_channels=3, aux_logits=True, dropout=0.2, dropout_aux=0.7):
        super().__init__()
        self.conv1 = BasicConv2d(in_channels, 64, 7, stride=2)
        self.maxpool1 = nn.MaxPool2D(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3)
        self.maxpool2 = nn.MaxPool2D(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2D(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2D(2, 2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux_logits = aux_logits
        if aux_logits:
            self.aux1 = InceptionAux(512, num_classes, dropout_aux)
            self.aux2 = InceptionAux(528, num_classes, dropout_aux)
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(1024, num_classes)
        self.feature_channels = [64, 192, 480, 832, 1024]
        self.feature_strides = [2, 4, 8, 16, 32]

    feature_layers = [['conv1'], ['conv2', 'conv3'], ['inception3a', 'inception3b'],
                      ['inception4a', 'inception4b', 'inception4c', 'inception4d', 'inception4e'],
                      ['inception5a', 'inception5b']]
    key_style = 'torchvision'
    classifier_layers = ('fc', 'aux1.fc2', 'aux2.fc2')  # what a new number of classes replaces

    def _trunk(self, x):
        """The last map at each stride, and the two maps that the auxiliary heads use."""
        check_size(x, SMALLEST, 'GoogLeNet')
        s2 = self.conv1(x)
        s4 = self.conv3(self.conv2(self.maxpool1(s2)))
        s8 = self.inception3b(self.inception3a(self.maxpool2(s4)))
        first = self.inception4a(self.maxpool3(s8))
        second = self.inception4d(self.inception4c(self.inception4b(first)))
        s16 = self.inception4e(second)
        s32 = self.inception5b(self.inception5a(self.maxpool4(s16)))
        return [s2, s4, s8, s16, s32], (first, second)

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        maps, _ = self._trunk(x)
        return maps

    def forward_features(self, x):
        """(B, 1024, H / 32, W / 32)."""
        maps, _ = self._trunk(x)
        return maps[-1]

    def forward_head(self, features):
        return self.fc(self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1)))

    def forward(self, x):
        maps, (first, second) = self._trunk(x)
        logits = self.forward_head(maps[-1])
        if self.training and self.aux_logits:
            return self.with_auxiliary(logits, self.aux1(first), self.aux2(second))
        return logits

    def replace_classifier(self, num_classes):
        """Put in fresh final and auxiliary classifiers."""
        self.fc = linear(1024, num_classes)
        if self.aux_logits:
            self.aux1.fc2 = linear(1024, num_classes)
            self.aux2.fc2 = linear(1024, num_classes)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return GoogLeNet(num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, aux_logits=model.AUX_LOGITS,
                     dropout=model.DROPOUT, dropout_aux=model.DROPOUT_AUX)
