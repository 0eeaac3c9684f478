"""Key styles: the names that publishers give to the entries of our networks.

A network's attributes have the names of one publisher. That is its own style, which its class names in `key_style`. Others may
publish weights of the same network with other names or conventions. `<family>/published.py` says how their keys follow from our
own:

    def styles(model):
        return {'timm': Style(rules=[(r'^features\\.0\\.0\\.', 'conv_stem.'), ...])}

For a given network the rules give a dictionary {our name: published key}. It is used in both directions, so every style can be
written as well as read, from one table.

In a PyTorch style, batch norms have `running_mean` and `running_var` instead of Paddle's `_mean` and `_variance`, and weights
of linear layers are (outputs, inputs), the transpose of Paddle's. The styles 'paddleclas' and 'paddle_vision' follow Paddle.
The style 'paddle', or 'seed', has this library's own names and shapes. For Mobile-Former these are also the names of the
original tutorial code and of PaddleViT.

Weights may be for a network that differs in keys of MODEL, such as an activation. The style names these keys, and
`OtherNetwork` says which network to build.
"""
import functools
import re
import warnings
from dataclasses import dataclass
from math import ceil

import numpy as np
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import beside, linear_weights
from image_classification.weights import parts
from image_classification.weights.parts import entries

PADDLE = 'paddle'
_AS_HERE = (PADDLE, 'seed')
_STATISTICS = {'_mean': 'running_mean', '_variance': 'running_var'}


@dataclass(frozen=True)
class Style:
    """How a publisher's state dict differs from the family's own.

    rules: pairs (pattern, replacement) for `re.sub`. Applied in order, they turn a key of our own style into the publisher's.
    convolutions: the publisher's keys of 1x1 convolution weights, (outputs, inputs, 1, 1), that belong to linear layers here.
    vectors: endings of the publisher's keys of arrays (C,) that are (C, 1, 1) here: layer scales.
    epsilon: the epsilon of the publisher's batch norms, if it differs from ours; otherwise 0.0.
    optional: prefixes of our names that a file may lack because evaluation does not use them: auxiliary heads.
    absent: prefixes of such names that the publisher's network does not have at all.
    factors: ((our name, factor), ...): our value is the publisher's times the factor, which the publisher's code applies
        itself.
    network: ((key of MODEL, value), ...) of the network that the weights are for; other values would be another network.
    suited: the same for the network that computes exactly as the publisher's. For other values the weights are rescaled.
    paddle: whether the publisher's framework is Paddle.
    """

    rules: tuple = ()
    convolutions: tuple = ()
    vectors: tuple = ()
    epsilon: float = 0.0
    optional: tuple = ()
    absent: tuple = ()
    factors: tuple = ()
    network: tuple = ()
    suited: tuple = ()
    paddle: bool = False

    def key(self, name):
        """The publisher's key for a key of our own style."""
        for pattern, replacement in self.rules:
            name = _compiled(pattern).sub(replacement, name)
        return name


_compiled = functools.cache(re.compile)                            # the cache of `re` holds 512 patterns, fewer than there are


_OURS = Style(paddle=True)


class OtherNetwork(UserError):
    """The weights are for another network than the given one: that with `keys`, {key of MODEL: value}."""

    def __init__(self, whose, keys, model):
        name, found = model.config.MODEL.NAME, {key: model.config.MODEL[key] for key in keys}
        words = [' and '.join(f'MODEL.{key} {value}' for key, value in values.items()) for values in (keys, found)]
        keywords = ', '.join(f'{key.lower()}={value!r}' for key, value in keys.items())
        super().__init__(f'{whose} is for a network with {words[0]}; this {name} has {words[1]}. Build it by '
                         f'create_model({name!r}, {keywords}), or give a training -opts {words[0].replace(" and ", " ")}')
        self.keys = keys


def require_network(model, keys, whose):
    """Raise OtherNetwork if the network's configuration has other values for `keys`, {key of MODEL: value}."""
    model_keys = model.config.MODEL if keys and hasattr(model, 'config') else {}
    other = {key: value for key, value in keys.items() if key in model_keys and model_keys[key] != value}
    if other:
        raise OtherNetwork(whose, {key: keys[key] for key in other}, model)


def require_style(model, style, whose='', suited=False):
    """Raise OtherNetwork if a key style's weights are for another network than `model`. With `suited`, the network must also
    compute exactly as the publisher's. `whose` is the beginning of the message."""
    name, theirs = style or next(iter(styles(model)), ''), _style(model, style)
    keys = dict(theirs.network + theirs.suited if suited else theirs.network)
    require_network(model, keys, f'{whose}the key style {name!r}{"," if whose else ""}')


def styles(model):
    """{name: Style} of the network's family, its own first; empty if nobody publishes weights for it."""
    own, published = getattr(model, 'key_style', ''), beside(model, 'published')
    return {**({own: Style()} if own else {}), **(published.styles(model) if published else {})}


def published_names(model, style=''):
    """{our name: the publisher's key} for the network's entries that the publisher has, including those of a dropped head.
    Style '' is the family's own."""
    theirs, names = _style(model, style), {}
    for name in [*model.state_dict(), *dropped(model)]:
        layer, dot, last = name.rpartition('.')
        if not name.startswith(theirs.absent):
            names[name] = theirs.key(layer + dot + (last if theirs.paddle else _STATISTICS.get(last, last)))
    return names


def to_ours(model, published, style=''):
    """Convert a published state dict, without a prefix, to our names and shapes: {published key: array} -> {our name: array}.
    Unknown keys are kept.

    `num_batches_tracked` is skipped. So are `derived_entries`, a network's list of endings of published keys whose values
    follow from its architecture. An optional part that the file lacks keeps the network's values, with a warning; one that the
    network lacks is dropped. If the batch norms have another epsilon, their weights are rescaled, so that they compute the
    same.

    Raises:
        OtherNetwork: the style's weights are for another network.
    """
    if style in _AS_HERE:
        return {key: np.asarray(value) for key, value in published.items()}
    theirs, own, linear = _style(model, style), model.state_dict(), _linear_weights(model)
    require_style(model, style)
    ours = {key: name for name, key in published_names(model, style).items()}
    skipped, factors = ('num_batches_tracked', *getattr(model, 'derived_entries', ())), dict(theirs.factors)
    state = {}
    for key, value in published.items():
        if key.endswith(skipped):
            continue
        value = np.asarray(value)
        name = ours.get(key, f'{key!r}' if key in own else key)     # quoted: an unknown key that happens to be one of our names
        if name in linear:
            value = value[:, :, 0, 0].T if value.shape[2:] == (1, 1) else value if theirs.paddle else value.T
        if theirs.vectors and key.endswith(theirs.vectors) and value.ndim == 1:
            value = value.reshape([-1, 1, 1])
        state[name] = value if name not in factors else (value * factors[name]).astype(value.dtype)
    if theirs.epsilon:
        _change_epsilon(model, state, theirs.epsilon)
    return _fill_optional(own, state, theirs.optional + theirs.absent)


def to_published(model, style=''):
    """The network's weights with a publisher's names and shapes, {key: array}: the inverse of `to_ours`.

    In the network's own style, `derived_entries` are included, as in the original. `num_batches_tracked`, which PyTorch fills
    in, and entries that the publisher's network does not have are left out.

    Raises:
        OtherNetwork: the publisher's network is a different one.
    """
    own = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    if style in _AS_HERE:
        return own
    theirs, linear = _style(model, style), _linear_weights(model)
    require_style(model, style)
    if theirs.epsilon:
        _change_epsilon(model, own, theirs.epsilon, back=True)
    state, factors = {}, dict(theirs.factors)
    for name, key in published_names(model, style).items():
        if name not in own:
            continue                                               # an entry of a dropped head
        value = own[name] if name not in factors else (own[name] / factors[name]).astype(own[name].dtype)
        as_convolution = key in theirs.convolutions
        value = value.T if name in linear and (as_convolution or not theirs.paddle) else value
        state[key] = value[:, :, None, None] if as_convolution else value
        if theirs.vectors and key.endswith(theirs.vectors):
            state[key] = value.reshape([-1])
    derived = tuple(getattr(model, 'derived_entries', ()))
    if derived and style in ('', next(iter(styles(model)), '')):
        state.update({key: value.numpy().astype(np.int64) for key, value in model.named_buffers() if key.endswith(derived)})
    return state


def detect_style(model, state):
    """The name of the style in which most entries of a file, {key: array}, fit the network.

    It is the family's own style, another publisher's, or 'paddle' for a file of this library. If none fits, it is the family's
    own ('' if that has no name), and loading will say what does not fit.
    """
    return find_part(model, entries(state, lambda value: value)).style


def find_part(model, found, style=''):
    """The `Part` of a file's entries that belongs to the network. `style` is the key style, '' detects it. A publisher's style
    that equals this library's own names and shapes is detected as 'paddle'."""
    own, linear = model.state_dict(), _linear_weights(model)
    here = {**{name: tuple(tensor.shape) for name, tensor in own.items()},
            **{name: shape for name, (shape, _) in dropped(model).items()}}
    there = {name: shape[::-1] if name in linear else shape for name, shape in here.items()}
    published = [name for name, theirs in styles(model).items() if theirs != _OURS]
    known = {}
    for each in [style] if style else [*(published or ('',)), PADDLE]:
        theirs = _style(model, each)
        known[each] = {key: (here if theirs.paddle and key not in theirs.convolutions else there)[name]
                       for name, key in published_names(model, each).items()}
        if theirs.vectors:
            known[each].update({key: shape[:1] for key, shape in known[each].items() if key.endswith(theirs.vectors)})
    return parts.find_part(found, known)


def adapt_input(weight, in_chans):
    """Adapt the weights of a first convolution, (C', 3, h, w), to another number of input channels: (C', in_chans, h, w).

    For one channel they are summed, so that a grey picture gives the same output as its copies in red, green and blue. For more
    than three channels they are repeated cyclically and scaled by 3 / in_chans, so that the outputs keep their size.
    """
    channels = weight.shape[1]
    if in_chans == channels:
        return weight
    if in_chans == 1:
        return weight.sum(axis=1, keepdims=True)
    repeated = np.tile(weight, (1, ceil(in_chans / channels), 1, 1))[:, :in_chans]
    return repeated * np.asarray(channels / in_chans, weight.dtype)


def adapt_first_convolution(model, state):
    """Adapt the first convolution of a state in our names to the network's number of input channels, if only that differs.
    There may be several first convolutions, side by side."""
    adapted = {}
    for name, tensor in model.state_dict().items():
        found, wanted = tuple(np.shape(state.get(name, ()))), tuple(tensor.shape)
        if len(wanted) == len(found) == 4 and found[1] == 3 != wanted[1] and found[:1] + found[2:] == wanted[:1] + wanted[2:]:
            adapted[name] = adapt_input(np.asarray(state[name]), wanted[1])
    return {**state, **adapted} if adapted else state


def _style(model, name):
    if name in _AS_HERE:
        return _OURS
    known = styles(model)
    if not name:
        return next(iter(known.values()), Style())
    if name not in known:
        raise UserError(f'{type(model).__name__} has no key style {name!r}; wanted one of {", ".join([*known, PADDLE])}')
    return known[name]


def dropped(model):
    """{name: (shape, whether it is the weight of a linear layer)} of the head that a network with features_only lacks."""
    return getattr(model, 'dropped', {})


def _linear_weights(model):
    return linear_weights(model) | {name for name, (_, is_linear) in dropped(model).items() if is_linear}


def _change_epsilon(model, state, epsilon, back=False):
    """Rescale, in place, weights of batch norms trained with `epsilon`, so that they compute the same with the network's own
    epsilon: weight / sqrt(variance + epsilon) stays. `back` does the reverse."""
    for name, layer in model.named_sublayers():
        weight, variance = state.get(f'{name}.weight'), state.get(f'{name}._variance')
        if isinstance(layer, (nn.BatchNorm1D, nn.BatchNorm2D)) and np.shape(weight) == np.shape(variance) != ():
            variance = variance.astype(np.float64)
            factor = np.sqrt((variance + layer._epsilon) / (variance + epsilon))
            state[f'{name}.weight'] = (weight / factor if back else weight * factor).astype(weight.dtype)


def _fill_optional(own, state, optional):
    for beginning in optional:
        names = [name for name in own if name.startswith(beginning)]
        if not names:
            state = {name: value for name, value in state.items() if not name.startswith(beginning)}
        elif not any(name in state for name in names):
            warnings.warn(f'the weights lack {beginning.rstrip(".")}, which only training uses: it keeps its values',
                          stacklevel=3)
            state.update({name: own[name].numpy() for name in names})
    return state
