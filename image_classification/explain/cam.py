"""Grad-CAM, https://arxiv.org/abs/1610.02391, for the networks of the library.

The weight of each channel of a feature map is the mean, over its pixels, of the logit's gradient. The heat is the positive part
of the weighted sum. By default the map is the last one, or the one that the network names (`Network.explained_layer`). If the
network's tokens also attend to this map, gradients through the tokens are included.
"""
import difflib
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from PIL import Image

from image_classification.errors import UserError
from image_classification.explain.inputs import check_network, explaining, network_input, watching


@dataclass(frozen=True)
class ClassEvidence:
    """The evidence for a class in an image."""
    heat: np.ndarray                       # (H, W) of the network's input, float32, 0 to 1; all 0 if there is no evidence
    class_index: int
    probability: float
    probabilities: np.ndarray              # of all classes
    activation: np.ndarray                 # (C, h, w): the map
    gradient: np.ndarray                   # (C, h, w): the gradient of the class's logit with respect to the map


def grad_cam(model, image, class_index=None, layer=None):
    """Heat map of the regions that speak for a class: (H, W) float32, 0 to 1, at the size of the network's input.

    Args:
        model: a classifier from `create_model`, or a face detector, whose class 0 is the score of the best face. Its
            parameters, gradients and modes are left unchanged. Threads may share it.
        image: a PIL image, a path, bytes or a uint8 array (H, W, C); it is prepared as in evaluation, and the heat map covers
            the part that the network sees, `preprocess_of(model).crop(image)`. Or one normalized float32 tensor or array,
            (C, H, W) or (1, C, H, W).
        class_index: by default the most probable class.
        layer: name of the sublayer whose output map is used, as in `model.named_sublayers()`; by default the last map.
    Raises:
        UserError: the network has no classes, no such class or no such layer, or the image cannot be read.
    """
    return explain_class(model, image, class_index, layer).heat


def explain_class(model, image, class_index=None, layer=None):
    """As `grad_cam`, but returns ClassEvidence: the heat map with the map, gradient and probabilities behind it."""
    check_network(model)
    x = network_input(model, image)
    with explaining(model), paddle.enable_grad():
        target = _find_layer(model, layer) if layer else model.explained_layer()
        activation, logits = _run_from_head(model, x) if target is None else _run_from_layer(model, x, target, layer)
        index = _check_class(class_index, logits)
        gradient = paddle.grad(logits[0, index], activation, allow_unused=True)[0]
    if gradient is None:
        raise UserError(f'no logit depends on the output of {layer}; wanted a layer in front of the classifier')
    activation, gradient = (tensor[0].astype('float32').numpy() for tensor in (activation, gradient))
    probabilities = _probabilities(model, logits)
    heat = _enlarged(heat_of(activation, gradient), x.shape[2:])
    return ClassEvidence(heat, index, float(probabilities[index]), probabilities, activation, gradient)


def finer_layer(model, image, least=4):
    """The last layer whose map has at least `least` pixels on each side: its name and (h, w), or None if there is none.

    For small pictures the last map has few pixels, or a single one, whose heat is the same everywhere. Then explain this layer.
    Only the network's direct parts and the elements of its sequences are candidates: layers inside a block see only a part of
    the signal.
    """
    seen = {}                                                      # {name: sizes of its maps}, in the order of the calls

    def note(name, inputs, output):
        maps = [part for part in (output if isinstance(output, (tuple, list)) else [output])
                if isinstance(part, paddle.Tensor) and part.ndim == 4]
        seen.setdefault(name, []).append(tuple(maps[0].shape[2:]) if maps else (0, 0))

    check_network(model)
    x = network_input(model, image)
    parts = dict(model.named_children())
    parts.update({f'{name}.{step}': layer for name, part in parts.items() if isinstance(part, (nn.Sequential, nn.LayerList))
                  for step, layer in part.named_children()})
    with explaining(model), paddle.no_grad(), watching(parts, note):
        model(x)
    fine = [(name, sizes[0]) for name, sizes in seen.items() if len(sizes) == 1 and min(sizes[0]) >= least]
    return fine[-1] if fine else None


def heat_of(activation, gradient):
    """Two arrays (C, h, w) -> heat (h, w) float32, scaled to a maximum of 1, or all 0."""
    heat = np.maximum(np.einsum('c,chw->hw', gradient.mean((1, 2)), activation), 0)
    peak = heat.max()
    return heat / peak if np.isfinite(peak) and peak > 0 else np.zeros_like(heat)


def _run_from_head(model, x):
    """(last map, logits (1, classes)). Only the head records gradients."""
    with paddle.no_grad():
        features = model.forward_features(x)
    maps = list(features) if isinstance(features, (tuple, list)) else [features]
    maps[0] = _leaf(maps[0])
    return maps[0], _logits(model, model.forward_head(tuple(maps) if isinstance(features, (tuple, list)) else maps[0]))


def _run_from_layer(model, x, target, name):
    """(first map in the layer's output, logits (1, classes)). The forward pass continues from a detached copy of the map."""
    found = []

    def keep(name, inputs, output):
        outputs = list(output) if isinstance(output, (tuple, list)) else [output]
        place = next((i for i, part in enumerate(outputs) if isinstance(part, paddle.Tensor) and part.ndim == 4), None)
        if place is None:
            raise UserError(f'the layer {name} gives no map (B, C, H, W); wanted one that does')
        outputs[place] = _leaf(outputs[place])
        found.append(outputs[place])
        return type(output)(outputs) if isinstance(output, (tuple, list)) else outputs[0]

    with watching({name: target}, keep):
        logits = _logits(model, model(x))
    if len(found) != 1:
        raise UserError(f'the layer {name} runs {len(found)} times in a forward pass; wanted one that runs once')
    return found[0], logits


def _leaf(tensor):
    tensor = tensor.detach()
    tensor.stop_gradient = False
    return tensor


def _logits(model, output):
    output = model.class_logits(output)
    if isinstance(output, paddle.Tensor) and output.ndim == 2:
        return output
    raise UserError(f'{type(model).__name__} gives no logits; wanted a classifier')


def _probabilities(model, logits):
    """(classes,) float32."""
    values = logits[0].astype('float64') / getattr(getattr(model, 'config', None), 'TEMPERATURE', 1.0)
    if not values.isfinite().all().item():
        raise UserError(f'{type(model).__name__} gives NaN or infinite logits: its weights are spoilt. Take another checkpoint')
    return (F.softmax(values) if model.exclusive_classes else F.sigmoid(values)).astype('float32').numpy()


def _check_class(class_index, logits):
    count = logits.shape[1]
    if class_index is None:
        return int(logits[0].argmax().item())
    if isinstance(class_index, bool) or not isinstance(class_index, (int, np.integer)) or not 0 <= class_index < count:
        raise UserError(f'class_index is {class_index!r}; wanted a whole number from 0 to {count - 1}')
    return int(class_index)


def _find_layer(model, name):
    layers = dict(model.named_sublayers())
    if name not in layers:
        raise UserError(f'{type(model).__name__} has no layer {name!r}; wanted one of model.named_sublayers(), e.g. '
                        f'{difflib.get_close_matches(name, layers, n=1, cutoff=0.0)[0]}')
    return layers[name]


def _enlarged(heat, size):
    """(h, w) -> (H, W), bilinear."""
    return np.asarray(Image.fromarray(heat.astype(np.float32)).resize(tuple(size)[::-1], Image.Resampling.BILINEAR))
