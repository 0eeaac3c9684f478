"""Base classes of the networks, and helpers that they share."""
import importlib
import numbers
import warnings

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.paddle_internals import paddle_model_wants_one_output
from image_classification.errors import UserError

MOST_CLASSES, MOST_CHANNELS = 1_000_000, 4096                      # the upper bounds of MODEL.NUM_CLASSES and MODEL.IN_CHANNELS


class Network(nn.Layer):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes). Besides its layers, a family's network defines:

    - `forward_features(x)`: the last map; `forward_head(features)`: the logits;
    - `forward_intermediates(x)`: list with the last map at each stride, described by `feature_channels` and `feature_strides`.
      `feature_layers` names, for each map, the layers and parameters that it needs beyond those of the finer maps. Everything
      else belongs to the head, which `features_only` leaves out. If the stem has finer maps, `forward_finer(x)` may return them
      in front of the others; `finer_channels` and `finer_strides` describe them;
    - `replace_classifier(num_classes)`: puts in a fresh classifier, as `reset_classifier` promises. The names of the replaced
      layers begin with one of `classifier_layers`;
    - `key_style`: the publisher whose parameter names the network uses: official, timm or torchvision; '' if nobody has
      published weights. The family's `published.py` lists other publishers and weights that differ in more than names;
    - `explained_layer()`: the layer whose map explains a class, if it is not the last map; `class_logits(output)`: needed if
      the network's output is not logits; `class_names`: for a network that knows the names of its classes;
      `exclusive_classes`: whether the class probabilities sum to 1.
    """

    classifier_layers = ()
    key_style = ''
    class_names = ()
    exclusive_classes = True
    auxiliary = ()                                                 # auxiliary logits that `with_auxiliary` set aside
    keeps_auxiliary = False                                        # whether a loss reads `auxiliary`

    def with_auxiliary(self, logits, *auxiliary):
        """The result of `forward` in training: (logits, *auxiliary). If `paddle.Model` calls with a loss for one output, only
        the logits are returned, as its metrics need; `paddle_model.AuxiliaryLoss` then reads the others in `self.auxiliary`."""
        if not paddle_model_wants_one_output(1 + len(auxiliary)):
            return (logits, *auxiliary)
        self.auxiliary = auxiliary if self.keeps_auxiliary else ()
        if not self.keeps_auxiliary:
            warnings.warn(f'paddle.Model trains {type(self).__name__} without its auxiliary heads: its loss takes one output. '
                          'To train them, too, use the loss image_classification.integrations.paddle_model.AuxiliaryLoss')
        return logits

    def of_two_heads(self, logits, distilled):
        """The result of `forward` for two classifiers, one trained on labels and one on a teacher's answers. In training it is
        both, see `with_auxiliary`. In evaluation, and for a `paddle.Model` whose loss takes one output, it is their mean."""
        if self.training and (self.keeps_auxiliary or not paddle_model_wants_one_output(2)):
            return self.with_auxiliary(logits, distilled)
        return (logits + distilled) / 2

    def no_weight_decay(self):
        """Names of parameters without weight decay, in addition to norms, biases and layer scales. By default none."""
        return set()

    def explained_layer(self):
        """The layer whose map feeds every path to the logits, or None for the last map, `forward_features`."""
        return None

    def class_logits(self, output):
        """Logits (B, classes), taken from the output of `forward` in evaluation."""
        return output

    def reset_classifier(self, num_classes):
        """Replace the classifier by a fresh one for `num_classes` classes, also in the network's configuration.
        Raises UserError unless `num_classes` is a whole number of at least 1."""
        num_classes = classes_wanted(num_classes, 'reset_classifier got')
        self.replace_classifier(num_classes)
        if hasattr(self, 'config'):
            cfg = self.config.clone()                              # other networks may share it
            cfg.defrost()
            cfg.MODEL.NUM_CLASSES = num_classes
            cfg.freeze()
            self.config = cfg

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


class PlainNetwork(Network):
    """A network of one Stage, `features`, then global average pooling and a `classifier`. `levels` are the indices of the last
    block at each stride. `make_linear(c_in, c_out)` makes the last layer of the classifier."""

    make_linear = nn.Linear

    def forward_intermediates(self, x):
        """List of maps, one from the last block at each stride: `feature_channels`, `feature_strides`. The output of a wide
        convolution in front of the classifier is not among them."""
        return self.features.outputs(self.levels, x)

    @property
    def feature_layers(self):
        """The blocks of `features` that each level adds."""
        return by_level(self.levels, [[f'features.{i}'] for i in range(len(self.features))])

    def forward_features(self, x):
        """The last map (B, C, H/32, W/32)."""
        return self.features(x)

    def forward_head(self, features):
        return self.classifier(F.adaptive_avg_pool2d(features, 1).flatten(1))

    def replace_classifier(self, num_classes):
        layers = self.classifier
        layers[len(layers) - 1] = self.make_linear(layers[-1].weight.shape[0], num_classes)  # layers[-1] = would add a layer


class StagedNetwork(Network):
    """A network of a `stem`, `stages` that each end in one feature map, and a `head` that computes the logits."""

    def forward_intermediates(self, x):
        """List of maps, one per stage: `feature_channels`, `feature_strides`."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward_features(self, x):
        """The last map (B, C, H/32, W/32)."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.head(features)


def classes_wanted(value, what):
    """A number of classes, also a numpy integer, as int. Raises UserError for another value; `what` begins its message."""
    if isinstance(value, numbers.Integral) and value == 0:
        raise UserError(f'{what} {value}, which would leave no classifier; wanted a whole number from 1 to {MOST_CLASSES}. For '
                        'features take model.forward_features(x), the last map, or create_model(name, features_only=True)')
    return count_wanted(value, what, MOST_CLASSES)


def count_wanted(value, what, most):
    """Like `classes_wanted`, for any number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 1 <= value <= most:
        raise UserError(f'{what} {repr(value)[:80]}; wanted a whole number from 1 to {most}')
    return int(value)


def beside(network, name):
    """The module `name` in the directory of the network's class, which holds facts about this family; None if there is none."""
    module = f'{type(network).__module__.rpartition(".")[0]}.{name}'
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None


def check_size(x, smallest, name):
    """Raise UserError if images (B, C, H, W) are too small for any map to remain. Not checked in an export, where the size may
    be unknown."""
    if paddle.in_dynamic_mode() and min(x.shape[2:]) < smallest:
        raise UserError(f'{name} takes images of at least {smallest} x {smallest} pixels, found {x.shape[2]} x {x.shape[3]}. '
                        'Enlarge DATA.IMAGE_SIZE.')


def levels_of(strides):
    """For consecutive steps with these strides: ([index of the last step at each total stride], [the total strides])."""
    totals = [1]
    for stride in strides:
        totals.append(totals[-1] * stride)
    totals = totals[1:]
    levels = [i for i, total in enumerate(totals) if total not in totals[i + 1:]]
    return levels, [totals[i] for i in levels]


def by_level(levels, layers):
    """`feature_layers` from `levels`, the indices of the steps that end a level, and `layers`, the layer names of each step."""
    starts = [0, *(level + 1 for level in levels)]
    return [sum(layers[start:level + 1], []) for start, level in zip(starts, levels)]
