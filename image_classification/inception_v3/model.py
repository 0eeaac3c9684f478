"""Inception v3, https://arxiv.org/abs/1512.00567. Sub-layers bear the names of torchvision's checkpoint.

Details:

- *Stem and reductions have no padding*, so maps are a little smaller than H / stride: 299 gives 149, 71, 35, 17 and 8.
- *The average pools count the padding as zeros*, unlike those of Inception-v4 and Paddle's default.
- *The auxiliary head needs a map of 17 x 17, so torchvision cannot train it on images below 299 x 299.* Here a smaller map is
  first stretched to that size. Nothing changes from 299 on.
- *torchvision's `transform_input` is not part of the network here.* It converts ImageNet's normalization to (x - 0.5) / 0.5;
  the preprocessing of the variant applies the latter directly. With it, the published weights reach their published accuracy.
- *Batch norms have an epsilon of 0.001.* The weights of PaddleClas and paddle.vision were trained with 1e-5; loading them sets
  `EPSILON`. In a network with another epsilon they are rescaled.
- The network has no residual branches, so `MODEL.DROPPATH` has no effect.
"""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import Conv2D, Network, check_size, pytorch_uniform, set_epsilon

SMALLEST = 75                                                      # pixels per side; below it no map reaches Mixed_7a


def linear(in_features, out_features, std=0.1):
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.TruncatedNormal(std=std),
                     bias_attr=pytorch_uniform(in_features))


def average(x):
    """3x3 average of a map, counting the zero padding: (B, C, H, W) -> the same."""
    return F.avg_pool2d(x, 3, 1, padding=1, exclusive=False)


class BasicConv2d(nn.Sequential):
    """Convolution without bias, batch norm, ReLU: (B, C, H, W) -> (B, C', H', W'). `std`: deviation of the initial weights."""

    def __init__(self, in_channels, out_channels, kernel, stride=1, padding=0, std=0.1):
        conv = Conv2D(in_channels, out_channels, kernel, stride, padding, bias_attr=False,
                      weight_attr=nn.initializer.TruncatedNormal(std=std))
        super().__init__(('conv', conv), ('bn', nn.BatchNorm2D(out_channels, epsilon=1e-3)), ('relu', nn.ReLU()))


class InceptionA(nn.Layer):
    """Branches 1x1, 5x5, two 3x3 and pool (figure 5): (B, C, H, W) -> (B, 224 + c_pool, H, W)."""

    def __init__(self, in_channels, c_pool):
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 64, 1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(in_channels, c_pool, 1)

    def forward(self, x):
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return paddle.concat([self.branch1x1(x), five, double, self.branch_pool(average(x))], axis=1)


class InceptionB(nn.Layer):
    """Reduction by 3x3, two 3x3 and pool (figure 10): (B, C, H, W) -> (B, 480 + C, (H - 1) // 2, (W - 1) // 2)."""

    def __init__(self, in_channels):
        super().__init__()
        self.branch3x3 = BasicConv2d(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return paddle.concat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], axis=1)


class InceptionC(nn.Layer):
    """Branches 1x1, 7x7, two 7x7 and pool, with 7x7 as 1x7 and 7x1 (figure 6): (B, C, H, W) -> (B, 768, H, W).

    `c7`: channels inside the 7x7 branches.
    """

    def __init__(self, in_channels, c7):
        super().__init__()
        wide, tall = {'kernel': (1, 7), 'padding': (0, 3)}, {'kernel': (7, 1), 'padding': (3, 0)}
        self.branch1x1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7_1 = BasicConv2d(in_channels, c7, 1)
        self.branch7x7_2 = BasicConv2d(c7, c7, **wide)
        self.branch7x7_3 = BasicConv2d(c7, 192, **tall)
        self.branch7x7dbl_1 = BasicConv2d(in_channels, c7, 1)
        self.branch7x7dbl_2 = BasicConv2d(c7, c7, **tall)
        self.branch7x7dbl_3 = BasicConv2d(c7, c7, **wide)
        self.branch7x7dbl_4 = BasicConv2d(c7, c7, **tall)
        self.branch7x7dbl_5 = BasicConv2d(c7, 192, **wide)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, x):
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return paddle.concat([self.branch1x1(x), single, double, self.branch_pool(average(x))], axis=1)


class InceptionD(nn.Layer):
    """Reduction by 3x3, 7x7 - 3x3 and pool: (B, C, H, W) -> (B, 512 + C, (H - 1) // 2, (W - 1) // 2)."""

    def __init__(self, in_channels):
        super().__init__()
        self.branch3x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)

    def forward(self, x):
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return paddle.concat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], axis=1)


class InceptionE(nn.Layer):
    """Branches 1x1, 3x3, two 3x3 and pool; the last 3x3 of each is a 1x3 and a 3x1 in parallel (figure 7): (B, C, H, W) ->
    (B, 2048, H, W)."""

    def __init__(self, in_channels):
        super().__init__()
        wide, tall = {'kernel': (1, 3), 'padding': (0, 1)}, {'kernel': (3, 1), 'padding': (1, 0)}
        self.branch1x1 = BasicConv2d(in_channels, 320, 1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, **wide)
        self.branch3x3_2b = BasicConv2d(384, 384, **tall)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, **wide)
        self.branch3x3dbl_3b = BasicConv2d(384, 384, **tall)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, x):
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return paddle.concat([self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single),
                              self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(average(x))], axis=1)


class InceptionAux(nn.Layer):
    """Auxiliary head: (B, C, H, W) -> logits (B, num_classes)."""

    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv0 = BasicConv2d(in_channels, 128, 1)
        self.conv1 = BasicConv2d(128, 768, 5, std=0.01)
        self.fc = linear(768, num_classes, std=0.001)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(x, [max(x.shape[2], 17), max(x.shape[3], 17)])  # stretches small maps, keeps others
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, 3)))          # (B, 768, 1, 1) for 299 x 299
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class InceptionV3(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes); H and W of at least 75.

    With `aux_logits`, training gives (logits, logits behind Mixed_6e). torchvision adds the loss of the latter with weight 0.4.
    Args:
        dropout: probability in front of the final classifier.
        epsilon: of the batch norms.
    """

    def __init__(self, num_classes=1000, in_channels=3, aux_logits=True, dropout=0.5, epsilon=1e-3):
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(in_channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2D(3, 2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.maxpool2 = nn.MaxPool2D(3, 2)
        self.Mixed_5b = InceptionA(192, c_pool=32)
        self.Mixed_5c = InceptionA(256, c_pool=64)
        self.Mixed_5d = InceptionA(288, c_pool=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, c7=128)
        self.Mixed_6c = InceptionC(768, c7=160)
        self.Mixed_6d = InceptionC(768, c7=160)
        self.Mixed_6e = InceptionC(768, c7=192)
        self.aux_logits = aux_logits
        if aux_logits:
            self.AuxLogits = InceptionAux(768, num_classes)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(2048, num_classes)
        set_epsilon(self, epsilon)
        self.feature_channels = [64, 192, 288, 768, 2048]
        self.feature_strides = [2, 4, 8, 16, 32]

    feature_layers = [['Conv2d_1a_3x3', 'Conv2d_2a_3x3', 'Conv2d_2b_3x3'], ['Conv2d_3b_1x1', 'Conv2d_4a_3x3'],
                      ['Mixed_5b', 'Mixed_5c', 'Mixed_5d'], ['Mixed_6a', 'Mixed_6b', 'Mixed_6c', 'Mixed_6d', 'Mixed_6e'],
                      ['Mixed_7a', 'Mixed_7b', 'Mixed_7c']]
    key_style = 'torchvision'
    classifier_layers = ('fc', 'AuxLogits.fc')  # what a new number of classes replaces

    def forward_intermediates(self, x):
        """List of maps, the last at each stride: `feature_channels`, `feature_strides`."""
        check_size(x, SMALLEST, 'Inception v3')
        s2 = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        s4 = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(s2)))
        s8 = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(s4))))
        s16 = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(s8)))))
        s32 = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(s16)))
        return [s2, s4, s8, s16, s32]

    def forward_features(self, x):
        """(B, 2048, H', W'), 8 x 8 for 299 x 299."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.fc(self.dropout(F.adaptive_avg_pool2d(features, 1).flatten(1)))

    def forward(self, x):
        maps = self.forward_intermediates(x)
        logits = self.forward_head(maps[-1])
        if self.training and self.aux_logits:
            return self.with_auxiliary(logits, self.AuxLogits(maps[-2]))
        return logits

    def replace_classifier(self, num_classes):
        """Put in fresh final and auxiliary classifiers."""
        self.fc = linear(2048, num_classes)
        if self.aux_logits:
            self.AuxLogits.fc = linear(768, num_classes, std=0.001)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    return InceptionV3(num_classes=model.NUM_CLASSES, in_channels=model.IN_CHANNELS, aux_logits=model.AUX_LOGITS,
                       dropout=model.DROPOUT, epsilon=model.EPSILON)
