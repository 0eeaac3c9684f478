"""BlazeFace, https://arxiv.org/abs/1907.05047. Sub-layers bear the names of hollance/BlazeFace-PyTorch's checkpoints.

`BlazeFaceExtractor` is the article's network, without heads. `BlazeFace` has the heads of a detector; it is either of the two
networks that MediaPipe published, front and back. `detector.py` converts its outputs to faces. Where the sources differ:

- *The article* has 5 x 5 kernels and, from the third halving of the map on, double blocks: two depthwise-separable convolutions
  with few channels between them. *MediaPipe* has 3 x 3 kernels and single blocks throughout.
- *Shortcuts* have no weights. If a block halves the map, its shortcut is a 2 x 2 max pool; if a block adds channels, they are
  zero in the shortcut. This follows the article and MediaPipe. The original tutorial code has a convolution there, with batch
  norm and ReLU.
- *In the tutorial*, the second 5 x 5 convolution of a double block is dense, and the first convolution is 3 x 3. Here all 5 x 5
  convolutions but the first are depthwise, as in the article's table.
- *Batch norm* is not in the article's table. The extractor has one behind each convolution, as in the tutorial. Activations are
  where the article draws them: within a double block, and behind the sum. MediaPipe's batch norms are folded into biases.
- *Padding* is TensorFlow's "same" at stride 2: one pixel less above and left than below and right, also in the extractor.
- *Sizes.* The published code needs sides that are even at each halving. Here both shortcut and convolution drop a last odd row
  or column, so every size from the last stride on works.
- *Stochastic depth* (`DROPPATH`) is in none of the sources. Every residual block has the given rate.
"""
from functools import partial
from math import prod

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import Conv2D, DropPath, Network, Stage, check_size, levels_of, pytorch_uniform

STEM = 24                                                          # channels of the first convolution, which halves the map
# Blocks up to the finer map, then those up to the coarser map: (channels, stride), in double blocks also the channels between.
PAPER = ([(24, 1), (24, 1), (48, 2), (48, 1), (48, 1), (96, 2, 24), (96, 1, 24), (96, 1, 24)],
         [(96, 2, 24), (96, 1, 24), (96, 1, 24)])
FRONT = ([(24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1), (88, 1)],
         [(96, 2), (96, 1), (96, 1), (96, 1), (96, 1)])
BACK = ([(24, 1)] * 7 + [(24, 2)] + [(24, 1)] * 7 + [(48, 2)] + [(48, 1)] * 7 + [(96, 2)] + [(96, 1)] * 7, [(96, 2)])
BOXES = (2, 6)                                                     # per pixel of the finer and of the coarser map
COORDINATES = 16                                                   # of a box: centre, size and six key points


def convolution(in_channels, out_channels, kernel=1, stride=1, groups=1, bias=True):
    """A convolution padded as in TensorFlow: (B, C, H, W) -> (B, out_channels, H // stride, W // stride)."""
    before = (kernel - stride) // 2
    after = kernel - stride - before
    uniform = pytorch_uniform(in_channels // groups * kernel ** 2)
    return Conv2D(in_channels, out_channels, kernel, stride, before if before == after else [before, after] * 2, groups=groups,
                  weight_attr=uniform, bias_attr=uniform if bias else False)


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm: (B, C, H, W) -> (B, out_channels, H // stride, W // stride)."""

    def __init__(self, in_channels, out_channels, kernel=1, stride=1, groups=1):
        super().__init__(convolution(in_channels, out_channels, kernel, stride, groups, bias=False),
                         nn.BatchNorm2D(out_channels, momentum=0.9, epsilon=1e-5))


def separable(layer, in_channels, out_channels, kernel, stride=1):
    """A depthwise convolution and a pointwise one. `layer` makes them: `convolution` or `ConvNorm`."""
    return [layer(in_channels, in_channels, kernel, stride, groups=in_channels), layer(in_channels, out_channels)]


class BlazeBlock(nn.Layer):
    """Separable convolutions with a shortcut without weights: (B, C, H, W) -> (B, out_channels, H // stride, W // stride).

    With `hidden`, this is a double block: two separable convolutions with `hidden` channels between them.
    """

    def __init__(self, layer, kernel, drop_path, in_channels, out_channels, stride=1, hidden=0):
        super().__init__()
        second = [nn.ReLU(), *separable(layer, hidden, out_channels, kernel)] if hidden else []
        self.convs = nn.Sequential(*separable(layer, in_channels, hidden or out_channels, kernel, stride), *second)
        self.drop_path = DropPath(drop_path)
        self.act = nn.ReLU()
        self.stride, self.added = stride, out_channels - in_channels

    def forward(self, x):
        shortcut = F.max_pool2d(x, 2, 2) if self.stride == 2 else x
        if self.added:
            # Not F.pad: with oneDNN, Paddle Inference 3.3 pads channels wrongly or crashes.
            shortcut = paddle.concat([shortcut, paddle.zeros_like(shortcut[:, :self.added])], axis=1)
        return self.act(self.drop_path(self.convs(x)) + shortcut)


class FinalBlazeBlock(nn.Layer):
    """The block in front of the back network's coarser map, without a shortcut: (B, C, H, W) -> (B, C, H // 2, W // 2)."""

    def __init__(self, channels):
        super().__init__()
        self.convs = nn.Sequential(*separable(convolution, channels, channels, 3, 2))
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.convs(x))


def blocks(make, in_channels, rows):
    """[make(in_channels, *row) for each row]. The output channels of each are the input channels of the next."""
    found = []
    for row in rows:
        found.append(make(in_channels, *row))
        in_channels = row[0]
    return found


class TwoMaps(Network):
    """Base class of the extractor and both detector networks. `parts()` returns the layers that compute the finer map, and
    those that compute the coarser map from it."""

    key_style = 'official'

    def announce(self, finer, coarser):
        """Set channels and strides of the maps after these rows of blocks."""
        stride = 2 * prod(row[1] for row in finer)
        self.feature_channels = [finer[-1][0], coarser[-1][0]]
        self.feature_strides = [stride, stride * prod(row[1] for row in coarser)]
        widths = [STEM, STEM, *(row[0] for row in finer)]          # of the convolution, the ReLU and the blocks that follow
        self.levels, strides = levels_of([2, 1, *(row[1] for row in finer)])
        self.finer_channels, self.finer_strides = [widths[i] for i in self.levels[:-1]], strides[:-1]

    def forward_intermediates(self, x):
        """List of the two maps: `feature_channels`, `feature_strides`."""
        check_size(x, self.feature_strides[-1], 'BlazeFace')
        first, second = self.parts()
        finer = first(x)
        return [finer, second(finer)]

    def forward_finer(self, x):
        """The last map at each stride: `finer_strides`, then `feature_strides`."""
        check_size(x, self.feature_strides[-1], 'BlazeFace')
        first, second = self.parts()
        maps = first.outputs(self.levels, x)
        return [*maps, second(maps[-1])]

    def forward_features(self, x):
        """The coarser map (B, 96, H // s, W // s), where s is the last stride."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        raise UserError('BlazeFace computes no logits from a map; use BlazeFaceDetector with blazeface_front or '
                        'blazeface_back to find faces')

    def replace_classifier(self, num_classes):
        raise UserError(f'BlazeFace has no classifier for {num_classes} classes; take its maps (features_only=True), or '
                        'another network')


class BlazeFaceExtractor(TwoMaps):
    """(B, in_channels, H, W), normalized -> [(B, 96, H // 8, W // 8), (B, 96, H // 16, W // 16)]; H and W of at least 16.

    `drop_path`: probability that a sample skips a residual branch in training.
    """

    def __init__(self, in_channels=3, drop_path=0.0):
        super().__init__()
        finer, coarser = PAPER
        make = partial(BlazeBlock, ConvNorm, 5, drop_path)
        self.backbone1 = Stage(ConvNorm(in_channels, STEM, 5, 2), nn.ReLU(), *blocks(make, STEM, finer))
        self.backbone2 = Stage(*blocks(make, finer[-1][0], coarser))
        self.announce(finer, coarser)

    feature_layers = [['backbone1'], ['backbone2']]

    def parts(self):
        return self.backbone1, self.backbone2

    def forward(self, x):
        return self.forward_intermediates(x)


class BlazeFace(TwoMaps):
    """(B, in_channels, H, W), -1..1 -> regressors (B, N, 16) and classifiers (B, N, 1), also in training.

    Row n belongs to anchor n (`detector.anchors`): centre (x, y), size (width, height) and six key points (x, y), in pixels
    from the anchor, and the logit of a face. N is 896 at the size of the published weights: 128 x 128 or, with `back`, 256 x
    256. At other sizes, from the last stride up, maps and rows are in proportion.
    """

    class_names, exclusive_classes = ('face',), False
    derived_entries = ('anchors',)                                 # in published files, but computed here

    def __init__(self, back=False, in_channels=3, drop_path=0.0):
        super().__init__()
        finer, coarser = BACK if back else FRONT
        make = partial(BlazeBlock, convolution, 3, drop_path)
        first = Stage(convolution(in_channels, STEM, 5, 2), nn.ReLU(), *blocks(make, STEM, finer))
        self.back = back
        if back:
            self.backbone, self.final = first, FinalBlazeBlock(finer[-1][0])
        else:
            self.backbone1, self.backbone2 = first, Stage(*blocks(make, finer[-1][0], coarser))
        self.announce(finer, coarser)
        (c_8, c_16), (boxes_8, boxes_16) = self.feature_channels, BOXES
        self.classifier_8, self.classifier_16 = convolution(c_8, boxes_8), convolution(c_16, boxes_16)
        self.regressor_8 = convolution(c_8, boxes_8 * COORDINATES)
        self.regressor_16 = convolution(c_16, boxes_16 * COORDINATES)

    @property
    def feature_layers(self):
        return [['backbone'], ['final']] if self.back else [['backbone1'], ['backbone2']]

    def parts(self):
        return (self.backbone, self.final) if self.back else (self.backbone1, self.backbone2)

    def explained_layer(self):
        """The layers of the finer map: faces are found on both maps, and it feeds both."""
        return self.parts()[0]

    def class_logits(self, output):
        """The logit of the best face among all anchors: (B, 1)."""
        return output[1].max(axis=1)

    def forward(self, x):
        finer, coarser = self.forward_intermediates(x)
        regressors = [rows(self.regressor_8(finer), COORDINATES), rows(self.regressor_16(coarser), COORDINATES)]
        classifiers = [rows(self.classifier_8(finer), 1), rows(self.classifier_16(coarser), 1)]
        return paddle.concat(regressors, axis=1), paddle.concat(classifiers, axis=1)


def rows(x, width):                                                # (B, boxes * width, H, W)
    return x.transpose([0, 2, 3, 1]).reshape([0, -1, width])       # (B, H * W * boxes, width)


def build_model(cfg):
    """The network that `cfg.MODEL` describes, freshly initialized."""
    model = cfg.MODEL
    kind = model.BLAZEFACE.NETWORK
    if kind == 'paper':
        return BlazeFaceExtractor(model.IN_CHANNELS, model.DROPPATH)
    return BlazeFace(kind == 'back', model.IN_CHANNELS, model.DROPPATH)
