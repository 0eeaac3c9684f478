"""A network for evaluation alone: what engines like better than the network's own layers, and batch norms folded away.

A family says in `<family>/reparameterize.py` what it has to say to engines. The file is found by its name; it, and each name in
it, may be missing:

- `FORMS`, {class of a layer: function}. The function is called once for each such layer of a copy in evaluation mode, without
  gradients, and changes it in place: new values for its parameters and, for another `forward`, a subclass: `layer.__class__ =
  Form`. The outputs must stay the same but for rounding. A class is looked up exactly, so that a form is not changed again.
- `products(network)` does the same for Paddle Inference, to a network with the FORMS, where 1x1 convolutions are faster as
  matrix products.
- `ONNX`, like FORMS and behind them, in an export to ONNX alone.
- `PHONE`, like FORMS and behind them, in an export for engines of phones alone, whose shapes are fixed: forms in operators that
  all of them have, of at most 5 dimensions.
- `ONEDNN`, {class of a network: 'convolutions'}, where Paddle Inference is faster if oneDNN computes the convolutions alone.
- `COUNTED`, like FORMS: what the published network computes and ours does not, for counting multiply-accumulates alone.
"""
import copy

import paddle
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import affine, beside, fold_in_front, network_of, set_parameter

_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D)


def fuse(model):
    """A copy like that of `reparameterize` in which, moreover, each batch norm that directly follows a convolution or a linear
    layer, or directly precedes a linear layer, is part of it; the same outputs but for rounding.

    Which layers follow each other is seen on one image of the configuration's size. Norms elsewhere stay.
    Args:
        model: a network of `create_model`, with `features_only`, too.
    Raises:
        UserError: it is something else.
    """
    if not isinstance(model, nn.Layer) or not hasattr(network_of(model), 'config'):
        raise UserError(f'fuse got a {type(model).__name__}; wanted a network of create_model, with or without features_only. '
                        'Of a network of your own, fuse the part that is one.')
    model = reparameterize(model)
    for first, second in _neighbours(model):
        if isinstance(second, _NORMS):
            _fold_behind(first, second)
            _replace(model, second, nn.Identity())
        else:
            _try_in_front(model, first, second)
    return model


@paddle.no_grad()
def reparameterize(model, products=False, onnx=False, phone=False):
    """A copy of a network, or of a `FeatureExtractor`, for evaluation: without dropout, and each layer in the form that the
    family's `reparameterize.py` gives it. The same outputs but for rounding.

    With `products`, moreover, the 1x1 convolutions are matrix products, if the family says so; with `onnx` or `phone`, it has
    the forms that the family has for ONNX, or for engines of phones.
    """
    model = _changed(model, 'FORMS')
    for layer in model.sublayers():
        if isinstance(layer, nn.Dropout):
            _replace(model, layer, nn.Identity())                  # Paddle Inference would copy
    network = network_of(model)
    if onnx:
        _change(model, 'ONNX')
    if phone:
        _change(model, 'PHONE')
    make_products = getattr(beside(network, 'reparameterize'), 'products', None)
    if products and make_products:
        make_products(network)
    return model


def as_published(model):
    """A copy for evaluation that computes all that the published network does, even where ours saves some of it."""
    return _changed(model, 'COUNTED')


@paddle.no_grad()
def _changed(model, forms):
    """A copy for evaluation whose layers are changed as a dictionary of the family's `reparameterize.py` says."""
    model = copy.deepcopy(model)
    model.eval()
    _change(model, forms)
    return model


def _change(model, forms):
    forms = getattr(beside(network_of(model), 'reparameterize'), forms, {})
    for layer in model.sublayers(include_self=True):
        if type(layer) in forms:
            forms[type(layer)](layer)


@paddle.no_grad()
def _try_in_front(model, norm, linear):
    """Fold a norm into the linear layer behind it, unless something else reads the norm's output: that shows in the outputs."""
    images = paddle.randn(_input_shape(model))
    expected, weight, bias, identity = _outputs(model, images), linear.weight.clone(), linear.bias, nn.Identity()
    fold_in_front(norm, linear)
    _replace(model, norm, identity)
    found = _outputs(model, images)
    if any(abs(a - b).max().item() > 1e-3 * max(a.std().item(), 1e-12) for a, b in zip(expected, found)):
        linear.weight.set_value(weight)
        linear.bias = bias
        _replace(model, identity, norm)


def _outputs(model, images):
    result = model(images)
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _input_shape(model):
    cfg = network_of(model).config
    return [1, cfg.MODEL.IN_CHANNELS, cfg.DATA.IMAGE_SIZE, cfg.DATA.IMAGE_SIZE]


@paddle.no_grad()
def _neighbours(model):
    """[(layer, the next one)] of which one is a batch norm to fold; both run once per image, one on the other's output."""
    makers, pairs, calls = {}, [], {}

    def before(layer, inputs):
        made = makers.get(id(inputs[0]))
        if made:
            pairs.append((made[0], layer))

    def after(layer, inputs, output):
        calls[layer] = calls.get(layer, 0) + 1
        makers[id(output)] = layer, output                         # the tensor is kept: a freed one's id could return
    layers = [layer for layer in model.sublayers() if isinstance(layer, (nn.Conv2D, nn.Linear, *_NORMS))]
    hooks = [hook for layer in layers
             for hook in (layer.register_forward_pre_hook(before), layer.register_forward_post_hook(after))]
    model(paddle.zeros(_input_shape(model)))
    for hook in hooks:
        hook.remove()
    folded, chosen = set(), []
    for first, second in pairs:
        norm, other = (second, first) if isinstance(second, _NORMS) else (first, second)
        fits = isinstance(norm, _NORMS) and (other is first and not isinstance(other, _NORMS) or isinstance(other, nn.Linear))
        if fits and norm not in folded and calls[first] == calls[second] == 1:
            folded.add(norm)
            chosen.append((first, second))
    return chosen


@paddle.no_grad()
def _fold_behind(layer, norm):
    factor, offset = affine(norm)
    shape = [1, -1] if isinstance(layer, nn.Linear) else [-1, 1, 1, 1]   # Linear: (in, out), convolution: (out, in, h, w)
    if layer.bias is not None:
        offset = offset + layer.bias * factor
    layer.weight.set_value(layer.weight * factor.reshape(shape))
    set_parameter(layer, 'bias', offset)


def _replace(model, old, new):
    for parent in model.sublayers(include_self=True):
        for name, child in parent._sub_layers.items():
            if child is old:
                parent._sub_layers[name] = new
