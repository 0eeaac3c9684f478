"""What the networks of the library have in common."""
import importlib
import numbers
import warnings

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.paddle_internals import paddle_model_wants_one_output
from image_classification.errors import UserError

MOST_CLASSES, MOST_CHANNELS = 1_000_000, 4096                      # as the bounds of MODEL.NUM_CLASSES and of MODEL.IN_CHANNELS


class Network(nn.Layer):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes). A family's network adds, besides its layers:

    - `forward_features(x)`, the last map, and `forward_head(features)`, the logits;
    - `forward_intermediates(x)`, the last map at each stride, with lists `feature_channels` and `feature_strides`, and
      `feature_layers`: for each of these maps, names of the layers and parameters that it takes beyond those of the finer ones.
      What is in none of them is the head's, which `features_only` leaves out. A family whose stem has finer maps may give them
      by `forward_finer(x)`, in front of the others, with lists `finer_channels` and `finer_strides`;
    - `replace_classifier(num_classes)`, which does what `reset_classifier` promises, to the layers whose names begin with
      `classifier_layers`;
    - `key_style`, the publisher whose names the parameters bear: official, timm or torchvision; '' where nobody has published
      weights. Further publishers, and weights that differ by more than this, are in the family's `published.py`;
    - `explained_layer()`, the layer whose map explains a class, where it is not the last map; `class_logits(output)`, for a network
      whose output is something else than logits; `class_names` of a network that knows what its classes are;
      `exclusive_classes`, whether their probabilities sum to 1.
    """

    classifier_layers = ()
    key_style = ''
    class_names = ()
    exclusive_classes = True
    auxiliary = ()                                                 # logits of auxiliary heads that `with_auxiliary` kept back
    keeps_auxiliary = False                                        # whether a loss asks for them

    def with_auxiliary(self, logits, *auxiliary):
        """What `forward` returns in training: (logits, *auxiliary), or the logits alone to `paddle.Model`, if its loss takes no
        more: its metrics do not, either. `self.auxiliary` has the others then, for `paddle_model.AuxiliaryLoss`."""
        if not paddle_model_wants_one_output(1 + len(auxiliary)):
            return (logits, *auxiliary)
        self.auxiliary = auxiliary if self.keeps_auxiliary else ()
        if not self.keeps_auxiliary:
            warnings.warn(f'paddle.Model trains {type(self).__name__} without its auxiliary heads: its loss takes one output. '
                          'Their losses, too: prepare it with image_classification.integrations.paddle_model.AuxiliaryLoss')
        return logits

    def of_two_heads(self, logits, distilled):
        """What `forward` returns of a classifier of labels and one of a teacher's answers: in training both, as `with_auxiliary`;
        in evaluation, and to a `paddle.Model` whose loss takes one output, their mean."""
        if self.training and (self.keeps_auxiliary or not paddle_model_wants_one_output(2)):
            return self.with_auxiliary(logits, distilled)
        return (logits + distilled) / 2

    def no_weight_decay(self):
        """Names of parameters that take no weight decay, besides norms, biases and layer scales: none."""
        return set()

    def explained_layer(self):
        """The layer whose map feeds every path to the logits; None: the last map, `forward_features`."""
        return None

    def class_logits(self, output):
        """Logits (B, classes) of what `forward` gives in evaluation."""
        return output

    def reset_classifier(self, num_classes):
        """Put a fresh classifier for so many classes in the place of the old one; the network's configuration says so, too.
        Raises UserError for less than one, or for something that is no whole number."""
        num_classes = classes_wanted(num_classes, 'reset_classifier got')
        self.replace_classifier(num_classes)
        if hasattr(self, 'config'):
            cfg = self.config.clone()                              # others may have the same one
            cfg.defrost()
            cfg.MODEL.NUM_CLASSES = num_classes
            cfg.freeze()
            self.config = cfg

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


class PlainNetwork(Network):
    """A network of one Stage, `features`, of which `levels` are the last blocks at each stride, and behind the average over
    the map a `classifier`, whose last layer `make_linear(c_in, c_out)` makes."""

    make_linear = nn.Linear

    def forward_intermediates(self, x):
        """List of maps, the last block's at each stride: `feature_channels`, `feature_strides`. A wide convolution in front of
        the classifier is none of them."""
        return self.features.outputs(self.levels, x)

    @property
    def feature_layers(self):
        """Of `features`, the blocks up to each level."""
        return by_level(self.levels, [[f'features.{i}'] for i in range(len(self.features))])

    def forward_features(self, x):
        """The last map (B, C, H/32, W/32)."""
        return self.features(x)

    def forward_head(self, features):
        return self.classifier(F.adaptive_avg_pool2d(features, 1).flatten(1))

    def replace_classifier(self, num_classes):
        layers = self.classifier
        layers[len(layers) - 1] = self.make_linear(layers[-1].weight.shape[0], num_classes)  # layers[-1] would be a new one


class StagedNetwork(Network):
    """A network of a `stem`, of `stages`, each of which ends a level, and of a `head` that gives the logits."""

    def forward_intermediates(self, x):
        """List of maps, one of each stage: `feature_channels`, `feature_strides`."""
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
    """A number of classes as int, also from numpy; `what` are the words before it in the UserError for another value."""
    if isinstance(value, numbers.Integral) and value == 0:
        raise UserError(f'{what} {value}, which would leave no classifier; wanted a whole number from 1 to {MOST_CLASSES}. For '
                        'features take model.forward_features(x), the last map, or create_model(name, features_only=True)')
    return count_wanted(value, what, MOST_CLASSES)


def count_wanted(value, what, most):
    """The same for any number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 1 <= value <= most:
        raise UserError(f'{what} {repr(value)[:80]}; wanted a whole number from 1 to {most}')
    return int(value)


def beside(network, name):
    """The module `name` in the directory of a network's class, where a family says what only it knows; None if it has none."""
    module = f'{type(network).__module__.rpartition(".")[0]}.{name}'
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None


def check_size(x, smallest, name):
    """Raise UserError for images (B, C, H, W) that leave nothing of a map. In an export, the size may be unknown here."""
    if paddle.in_dynamic_mode() and min(x.shape[2:]) < smallest:
        raise UserError(f'{name} takes images of at least {smallest} x {smallest} pixels, found {x.shape[2]} x {x.shape[3]}. '
                        'Enlarge DATA.IMAGE_SIZE.')


def levels_of(strides):
    """Of steps with these strides, one after another: ([number of the last step at each total stride], [that stride])."""
    totals = [1]
    for stride in strides:
        totals.append(totals[-1] * stride)
    totals = totals[1:]
    levels = [i for i, total in enumerate(totals) if total not in totals[i + 1:]]
    return levels, [totals[i] for i in levels]


def by_level(levels, layers):
    """`feature_layers`, of the numbers of the steps that end the levels, and of the names of each step's layers."""
    starts = [0, *(level + 1 for level in levels)]
    return [sum(layers[start:level + 1], []) for start, level in zip(starts, levels)]
