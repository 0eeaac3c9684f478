"""Prepares a network and an image for being explained."""
import contextlib
import math
import threading

import numpy as np
import paddle

from image_classification.datasets import Preprocess
from image_classification.datasets.images import as_image
from image_classification.errors import UserError
from image_classification.layers import FeatureExtractor


def check_network(model):
    """Raise UserError unless `model` is a network of the library. An export has no layers to look into."""
    if isinstance(model, FeatureExtractor):
        raise UserError('a network made with features_only=True gives no classes to explain; create it without')
    if not callable(getattr(model, 'forward_features', None)):
        raise UserError(f'a {type(model).__name__} cannot be explained: an export runs without gradients and without layers to '
                        'look into. Take the checkpoint (.safetensors) that it was exported from, or create_model.')


def preprocess_of(model):
    """The evaluation transform of the network's configuration."""
    if not hasattr(model, 'config'):
        raise UserError(f'this {type(model).__name__} has no configuration that says how to prepare a picture; make it with '
                        'create_model, or give a normalized float32 array (C, H, W)')
    return Preprocess.from_config(model.config, model.config.MODEL.IN_CHANNELS)


def seen_box(preprocess, size):
    """The part (left, top, right, bottom) of a picture of `size` (width, height) that the network sees, in pixels."""
    width, height = size
    side = min(width, height) * preprocess.image_size / math.floor(preprocess.image_size / preprocess.crop_pct)
    left, top = (width - side) / 2, (height - side) / 2
    return round(left), round(top), round(left + side), round(top + side)


def network_input(model, image):
    """The image as a tensor (1, C, H, W).

    A tensor or a float array, (C, H, W) or (1, C, H, W), must be normalized already. Anything else is a picture, see
    `as_image`, and is prepared as in evaluation.
    """
    if not isinstance(image, paddle.Tensor) and not (isinstance(image, np.ndarray) and image.dtype.kind == 'f'):
        preprocess = preprocess_of(model)
        image = preprocess(as_image(image, preprocess.channels))
    x = image.detach() if isinstance(image, paddle.Tensor) else paddle.to_tensor(image)
    x = x.astype(model.parameters()[0].dtype)
    if x.ndim == 3:
        x = x.unsqueeze(0)
    if x.ndim != 4 or x.shape[0] != 1:
        raise UserError(f'the image is an array {list(x.shape)}; wanted one image, (C, H, W) or (1, C, H, W)')
    return x


_ONE_AT_A_TIME = threading.RLock()         # one thread at a time changes a network's modes, and restores them


@contextlib.contextmanager
def explaining(model):
    """Within the block every layer is in evaluation mode and no parameter takes a gradient, so that only the computation after
    a chosen map is recorded. All of it is restored at the end. Other threads must wait to explain, but may predict."""
    with _ONE_AT_A_TIME:
        modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
        frozen = [(parameter, parameter.stop_gradient) for parameter in model.parameters()]
        model.eval()
        for parameter, _ in frozen:
            parameter.stop_gradient = True
        try:
            yield
        finally:
            for layer, training in modes:
                layer.training = training
            for parameter, stop_gradient in frozen:
                parameter.stop_gradient = stop_gradient


@contextlib.contextmanager
def watching(layers, see):
    """Within the block, call `see(name, inputs, output)` whenever one of `layers`, {name: layer}, runs in this thread. A result
    other than None replaces the output."""
    thread = threading.get_ident()

    def hook_of(name):
        def hook(layer, inputs, output):
            return see(name, inputs, output) if threading.get_ident() == thread else None
        return hook

    hooks = [layer.register_forward_post_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
