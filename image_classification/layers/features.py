"""Feature maps of any network of the library, for detection and segmentation."""
import operator
from collections import namedtuple

import paddle.nn.functional as F
from paddle import nn

from image_classification.errors import UserError

MOST_STRIDE = 128
_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)

# PaddleDetection's necks read these fields of a backbone; height and width are not known in advance.
ShapeSpec = namedtuple('ShapeSpec', 'channels height width stride', defaults=(None,) * 4)


def network_of(model):
    """The network inside a FeatureExtractor; any other model itself."""
    return model.network if isinstance(model, FeatureExtractor) else model


class FeatureExtractor(nn.Layer):
    """(B, 3, H, W) -> list of maps (B, channels[i], H / strides[i], W / strides[i]), finest first.

    Wraps a network that has `forward_intermediates(x)` (one map per level), `feature_channels` and `feature_strides`.
    `channels` and `strides` describe the maps, and so do `feat_channels` (PaddleSeg) and `out_shape` (PaddleDetection).
    Args:
        out_indices: levels to return, counted from 0 for the finest; negative numbers count from the coarsest.
        out_strides: levels to return, chosen by stride, e.g. (8, 16, 32). Strides beyond the coarsest level take every second
            pixel of the level before, as detectors do. Strides below the finest level exist if the network's stem has them.
        frozen_stages: index of a level, as in `out_indices`. All layers up to this level keep their weights and batch norm
            statistics. -1 freezes nothing.
        norm_eval: all batch norms keep their statistics in training; their weights still learn.
    Raises:
        UserError: the network has no levels or lacks a level or stride, or an argument has the wrong type.
    """

    def __init__(self, network, out_indices=None, out_strides=None, frozen_stages=-1, norm_eval=False):
        super().__init__()
        if not hasattr(network, 'forward_intermediates'):
            raise UserError(f'FeatureExtractor got a {type(network).__name__}; wanted a network of create_model')
        if out_indices is not None and out_strides is not None:
            raise UserError(f'out_indices {_short(out_indices)} and out_strides {_short(out_strides)} both choose levels; give '
                            'one of them')
        strides, finer = tuple(network.feature_strides), tuple(getattr(network, 'finer_strides', ()))
        self.network = network
        self.strides = _strides_wanted(network, out_strides) if out_strides is not None else tuple(
            strides[i] for i in _levels_wanted(network, out_indices))
        channels = dict(zip(finer + strides, [*getattr(network, 'finer_channels', ()), *network.feature_channels]))
        self.channels = tuple(channels.get(stride, network.feature_channels[-1]) for stride in self.strides)
        self.feat_channels = list(self.channels)
        self.out_shape = [ShapeSpec(channels=c, stride=stride) for c, stride in zip(self.channels, self.strides)]
        self.out_indices = tuple(strides.index(stride) for stride in self.strides if stride in strides)
        self._held = _freeze(network, frozen_stages, norm_eval)

    def forward(self, x):
        if self.training and self._held:
            self._hold()                                           # train() of a parent layer does not call ours
        network, strides = self.network, list(self.network.feature_strides)
        if min(self.strides) < strides[0]:
            strides = [*network.finer_strides, *strides]
            maps = network.forward_finer(x)
        else:
            maps = network.forward_intermediates(x)
        while strides[-1] < max(self.strides):
            maps.append(F.max_pool2d(maps[-1], 1, 2))              # (B, C, ceil(H / 2), ceil(W / 2))
            strides.append(2 * strides[-1])
        return [maps[strides.index(stride)] for stride in self.strides]

    def train(self):
        super().train()
        self._hold()
        return self

    def _hold(self):
        for layer in self._held:
            layer.training = False


def drop_head(network):
    """Remove, in place, the layers that only the logits need: all layers with parameters except `feature_layers`.

    `network.dropped` records their parameters, {name: (shape, whether it is the weight of a linear layer)}, because weight
    files still contain them.
    """
    linear, before = linear_weights(network), network.state_dict()
    kept = [name for level in _feature_layers(network) for name in level]
    for owner, name in list(_head_layers(network, kept) if kept else _classifier(network)):
        if isinstance(owner, nn.Sequential):
            owner._sub_layers[name] = nn.Identity()                # keep the length: key styles tell variants by it
        else:
            delattr(owner, name)
    after = network.state_dict()
    network.dropped = {name: (tuple(value.shape), name in linear) for name, value in before.items() if name not in after}
    if network.dropped:
        for name in ('forward', 'forward_features', 'forward_head', 'replace_classifier'):
            setattr(network, name, _refuse)


def linear_weights(network):
    """Names of the weights of linear layers, which PyTorch stores transposed. Having two axes is not enough to tell them."""
    return {f'{name}.weight' for name, layer in network.named_sublayers() if isinstance(layer, nn.Linear)}


def _refuse(*_):
    raise UserError('this network holds no classifier because it was made with features_only=True; make it without that')


def _feature_layers(network):
    return list(getattr(network, 'feature_layers', ()))


def _head_layers(layer, kept, prefix=''):
    """(parent, name) of each layer with parameters that is not one of `kept` and neither contains one nor lies in one."""
    for name, child in layer.named_children():
        path = prefix + name
        if path in kept:
            continue
        if any(other.startswith(f'{path}.') for other in kept):
            yield from _head_layers(child, kept, f'{path}.')
        elif child.parameters():
            yield layer, name


def _classifier(network):
    """(parent, name) of each of the `classifier_layers`, for a family without `feature_layers`."""
    for path in network.classifier_layers:
        *parents, name = path.split('.')
        owner = network
        for parent in parents:
            owner = owner._sub_layers[parent]
        yield owner, name


def _freeze(network, frozen_stages, norm_eval):
    """Freeze the parameters of all levels up to `frozen_stages`. Returns the layers that stay in evaluation mode."""
    levels, count = _feature_layers(network), len(network.feature_strides)
    if isinstance(frozen_stages, bool) or len(_whole_numbers([frozen_stages])) != 1 or not -1 <= frozen_stages < count:
        raise UserError(f'frozen_stages is {_short(frozen_stages)}; wanted -1 for none, or the last frozen level of '
                        f'{type(network).__name__}, 0..{count - 1}')
    if norm_eval not in (True, False):
        raise UserError(f'norm_eval is {_short(norm_eval)}; wanted True or False')
    if frozen_stages >= 0 and not levels:
        raise UserError(f'{type(network).__name__} does not say which layers its maps need; wanted frozen_stages -1, or a list '
                        '`feature_layers` in the network')
    frozen = tuple(f'{name}.' for level in levels[:int(frozen_stages) + 1] for name in level)
    for name, parameter in network.named_parameters():
        if f'{name}.'.startswith(frozen):
            parameter.stop_gradient = True
    return [layer for name, layer in network.named_sublayers()
            if f'{name}.'.startswith(frozen) or norm_eval and isinstance(layer, _NORMS)]


def _levels_wanted(network, out_indices):
    strides = tuple(network.feature_strides)
    count = len(strides)
    wanted = tuple(range(count)) if out_indices is None else _whole_numbers(out_indices)
    if not wanted or any(not -count <= i < count for i in wanted):
        raise UserError(f'out_indices is {_short(out_indices)}; wanted some of 0..{count - 1}, the {count} levels of '
                        f'{type(network).__name__} with strides {strides}, as a list, e.g. [{count - 1}]')
    return [i % count for i in wanted]


def _strides_wanted(network, out_strides):
    known = [*getattr(network, 'finer_strides', ()), *network.feature_strides]
    while known[-1] < MOST_STRIDE:
        known.append(2 * known[-1])
    wanted = _whole_numbers(out_strides)
    if not wanted or any(stride not in known for stride in wanted):
        raise UserError(f'out_strides is {_short(out_strides)}; wanted some of {", ".join(map(str, known))}, which '
                        f'{type(network).__name__} can give, as a list, e.g. [{known[-1]}]')
    return wanted


def _short(value):
    return repr(value)[:80]


def _whole_numbers(values):
    """The values as a tuple of int, or () if they are anything else."""
    try:
        values = tuple(values)
        return () if any(isinstance(value, bool) for value in values) else tuple(map(operator.index, values))
    except TypeError:
        return ()
