"""Key styles: the names that publishers give to the entries of our networks.

A network's attributes bear the names of one publisher, its own style, which the class calls `key_style`. Where others publish
weights of the same network under other names, or with other conventions, `<family>/published.py` says how these follow from our
own:

    def styles(model):
        return {'timm': Style(rules=[(r'^features\\.0\\.0\\.', 'conv_stem.'), ...])}

For a given network the rules give a dictionary {our name: published key}, which is read both ways: so every style can be
written, too, and no second table can drift from the first.

In a style of PyTorch batch norms have `running_mean` and `running_var` instead of Paddle's `_mean` and `_variance`, and weights
of linear layers are (outputs, inputs), the transpose of Paddle's; the styles 'paddleclas' and 'paddle_vision' have Paddle's.
The style 'paddle', or 'seed', means this library's own names and shapes, which are also those of the tutorial's Paddle code and
of PaddleViT for Mobile-Former.

Where weights are for a network that keys of MODEL tell from the one at hand, such as an activation, a style names these keys:
`OtherNetwork` then says what to build.
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

    rules: (pattern, replacement) of `re.sub`, applied in order to a key of the own style, give the publisher's.
    convolutions: the publisher's keys of 1x1 convolutions' weights, (outputs, inputs, 1, 1), that are of linear layers here.
    vectors: endings of the publisher's keys of arrays (C,) that are (C, 1, 1) here: layer scales.
    epsilon: of the publisher's batch norms, where it is not ours; 0.0 where it is.
    optional: beginnings of our names that a file may lack, because evaluation does without: auxiliary heads.
    absent: beginnings of such names that the publisher's network does not have at all.
    factors: ((our name, factor), ...): our value is the publisher's times this, for what its code does and ours does not.
    network: ((key of MODEL, value), ...) of the network that the weights are for, where other values give another one.
    suited: the same of the network that computes exactly as the publisher's; into others they are rescaled.
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
        """The publisher's key for one of the own style."""
        for pattern, replacement in self.rules:
            name = _compiled(pattern).sub(replacement, name)
        return name


_compiled = functools.cache(re.compile)                            # `re` itself keeps 512, fewer than there are


_OURS = Style(paddle=True)


class OtherNetwork(UserError):
    """Weights are for another network than the one at hand; `keys`, {key of MODEL: value}, make it."""

    def __init__(self, whose, keys, model):
        name, found = model.config.MODEL.NAME, {key: model.config.MODEL[key] for key in keys}
        words = [' and '.join(f'MODEL.{key} {value}' for key, value in values.items()) for values in (keys, found)]
        keywords = ', '.join(f'{key.lower()}={value!r}' for key, value in keys.items())
        super().__init__(f'{whose} is for a network with {words[0]}; this {name} has {words[1]}. Build it by '
                         f'create_model({name!r}, {keywords}), or give a training -opts {words[0].replace(" and ", " ")}')
        self.keys = keys


def require_network(model, keys, whose):
    """Raise OtherNetwork where keys of MODEL, {key: value}, have other values in the network's configuration."""
    model_keys = model.config.MODEL if keys and hasattr(model, 'config') else {}
    other = {key: value for key, value in keys.items() if key in model_keys and model_keys[key] != value}
    if other:
        raise OtherNetwork(whose, {key: keys[key] for key in other}, model)


def require_style(model, style, whose='', suited=False):
    """The same for the network that the weights of a key style are for, or that they are `suited` for; `whose` is what the
    message begins with."""
    name, theirs = style or next(iter(styles(model)), ''), _style(model, style)
    keys = dict(theirs.network + theirs.suited if suited else theirs.network)
    require_network(model, keys, f'{whose}the key style {name!r}{"," if whose else ""}')


def styles(model):
    """{name: Style} of the network's family, its own first; empty where nobody publishes weights for it."""
    own, published = getattr(model, 'key_style', ''), beside(model, 'published')
    return {**({own: Style()} if own else {}), **(published.styles(model) if published else {})}


def published_names(model, style=''):
    """{our name: the publisher's key} of the network's entries that the publisher has, those of a dropped head, too; style '' is
    the family's own."""
    theirs, names = _style(model, style), {}
    for name in [*model.state_dict(), *dropped(model)]:
        layer, dot, last = name.rpartition('.')
        if not name.startswith(theirs.absent):
            names[name] = theirs.key(layer + dot + (last if theirs.paddle else _STATISTICS.get(last, last)))
    return names


def to_ours(model, published, style=''):
    """A published state dict, without a prefix, in our names and shapes: {published key: array} -> {our name: array}; what fits
    nowhere is kept.

    Skipped are `num_batches_tracked` and `derived_entries`, a network's list of endings of published keys whose values follow
    from its architecture. An optional part that the file lacks keeps the network's values, with a warning; one that the
    network lacks goes. Batch norms of another epsilon get their weights rescaled, so that they compute the same.

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
        name = ours.get(key, f'{key!r}' if key in own else key)     # quoted: a key that would be ours in another style
        if name in linear:
            value = value[:, :, 0, 0].T if value.shape[2:] == (1, 1) else value if theirs.paddle else value.T
        if theirs.vectors and key.endswith(theirs.vectors) and value.ndim == 1:
            value = value.reshape([-1, 1, 1])
        state[name] = value if name not in factors else (value * factors[name]).astype(value.dtype)
    if theirs.epsilon:
        _change_epsilon(model, state, theirs.epsilon)
    return _fill_optional(own, state, theirs.optional + theirs.absent)


def to_published(model, style=''):
    """The network's weights as a publisher names and shapes them: {key: array}, the inverse of `to_ours`.

    In the own style with `derived_entries`, as the original has them. Never with `num_batches_tracked`, which PyTorch fills in,
    nor with what the publisher's network does not have.

    Raises:
        OtherNetwork: the publisher's network is another one.
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
            continue                                               # of a dropped head
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

    That is the family's own, another publisher's, or 'paddle' for a file of this library; the own one ('' where it has no
    name) if none fits: loading then says what does not.
    """
    return find_part(model, entries(state, lambda value: value)).style


def find_part(model, found, style=''):
    """The `Part` of a file's entries that is the network's; `style` is that of the keys, '' is found out. A publisher's who has
    this library's own names and shapes is found as 'paddle'."""
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
    """The weights of a first convolution, (C', 3, h, w), for another number of input channels: (C', in_chans, h, w).

    For one channel they are summed, so that a grey picture gives what its copies in red, green and blue gave. For more than
    three they are repeated in turn and scaled by 3 / in_chans, so that the responses keep their size.
    """
    channels = weight.shape[1]
    if in_chans == channels:
        return weight
    if in_chans == 1:
        return weight.sum(axis=1, keepdims=True)
    repeated = np.tile(weight, (1, ceil(in_chans / channels), 1, 1))[:, :in_chans]
    return repeated * np.asarray(channels / in_chans, weight.dtype)


def adapt_first_convolution(model, state):
    """A state in our names whose first convolution takes the network's number of input channels, where only that differs. The
    first may be several, side by side."""
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
    """{name: (shape, whether it is the weight of a linear layer)} of the head that a network with features_only has not."""
    return getattr(model, 'dropped', {})


def _linear_weights(model):
    return linear_weights(model) | {name for name, (_, is_linear) in dropped(model).items() if is_linear}


def _change_epsilon(model, state, epsilon, back=False):
    """Rescale the weights of batch norms trained with `epsilon` so that they compute the same with the network's own:
    weight / sqrt(variance + epsilon) stays. Or `back` again. In place."""
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
            warnings.warn(f'the weights lack {beginning.rstrip(".")}, which only training uses: it keeps its own', stacklevel=3)
            state.update({name: own[name].numpy() for name in names})
    return state
