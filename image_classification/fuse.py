"""Re-parameterise networks for evaluation: layers in forms that suit inference engines, and batch norms folded away.

A family defines its forms in `<family>/reparameterize.py`. The file is found by its name. It may be missing, and so may any of
the names in it:

- `FORMS`, {class of a layer: function}. The function is called once for each such layer of a copy in evaluation mode, without
  gradients. It changes the layer in place: new values for its parameters and, for another `forward`, a subclass
  (`layer.__class__ = Form`). Outputs must stay the same up to rounding. Classes are compared exactly, so that a form is not
  changed again.
- `products(network)` changes a network with the FORMS for Paddle Inference: 1x1 convolutions become matrix products if faster.
- `ONNX`: like FORMS and applied after them, only for exports to ONNX.
- `PHONE`: like FORMS and applied after them, only for exports to phone engines, with fixed shapes: forms made of operators that
  all of these engines have, on arrays of at most 5 dimensions.
- `ONEDNN`, {class of a network: 'convolutions'}, if Paddle Inference is faster with oneDNN only for the convolutions.
- `COUNTED`: like FORMS, only for counting multiply-accumulates: computations that the published network does and ours omits.
"""
import copy

import paddle
from paddle import nn

from image_classification.errors import UserError
from image_classification.layers import beside, fold_behind, fold_in_front, network_of

_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D)


def fuse(model):
    """Fold batch norms into the neighbouring layers, in a copy for evaluation. Outputs are the same up to rounding.

    The copy is that of `reparameterize`. A batch norm is folded if it directly follows a convolution or a linear layer, or
    directly precedes a linear layer; other norms stay. To find neighbours, one image of the configuration's size is run.
    Args:
        model: a network of `create_model`, with or without `features_only`.
    Raises:
        UserError: `model` is not such a network.
    """
    if not isinstance(model, nn.Layer) or not hasattr(network_of(model), 'config'):
        raise UserError(f'fuse got a {type(model).__name__}; wanted a network of create_model, with or without features_only. '
                        'Of a network of your own, fuse the part that is one.')
    model = reparameterize(model)
    for first, second in _neighbours(model):
        if isinstance(second, _NORMS):
            fold_behind(first, second)
            _replace(model, second, nn.Identity())
        else:
            _try_in_front(model, first, second)
    return model


@paddle.no_grad()
def reparameterize(model, products=False, onnx=False, phone=False):
    """Re-parameterise a copy of a network or a `FeatureExtractor` for evaluation. Outputs are the same up to rounding.

    The copy has no dropout, and its layers have the FORMS of the family's `reparameterize.py`. With `products`, its 1x1
    convolutions become matrix products, if the family defines that. With `onnx` or `phone`, the family's forms for ONNX or for
    phone engines are applied, too.
    """
    model = _changed(model, 'FORMS')
    for layer in model.sublayers():
        if isinstance(layer, nn.Dropout):
            _replace(model, layer, nn.Identity())                  # in Paddle Inference it would be a copy
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
    """A copy for evaluation that does all computations of the published network, even those that ours omits."""
    return _changed(model, 'COUNTED')


@paddle.no_grad()
def _changed(model, forms):
    """A copy for evaluation, with the changes of one dictionary in the family's `reparameterize.py`. `forms`: its name."""
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
    """Fold a norm into the linear layer after it. If the outputs change, other layers read the norm's output: undo it."""
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
    """[(layer, next layer)] of all pairs with a batch norm to fold. Both run once per image, one on the other's output."""
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


def _replace(model, old, new):
    for parent in model.sublayers(include_self=True):
        for name, child in parent._sub_layers.items():
            if child is old:
                parent._sub_layers[name] = new
