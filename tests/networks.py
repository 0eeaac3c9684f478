"""Networks for tests to which their weights do not matter, and what such tests need."""
import functools

import paddle
from paddle import nn

import image_classification as ic


@functools.lru_cache(maxsize=None)
def outline(name):
    """The network of a yaml, its parameters with names and shapes but without values or memory: made at once, not to be run."""
    with paddle.LazyGuard():
        return ic.create_model(name)


def empty(name, **overrides):
    """A network in evaluation mode, its parameters all 0: drawing them takes longer than a small picture's forward pass."""
    with paddle.LazyGuard():
        model = ic.create_model(name, **overrides).eval()
    for parameter in model.parameters():
        nn.initializer.Constant(0.0)(parameter)
    return model


def settled(model):
    """The network in evaluation mode, its running statistics and affine parameters such that they matter."""
    paddle.seed(0)
    for layer in model.sublayers():
        if isinstance(layer, (nn.BatchNorm1D, nn.BatchNorm2D)):
            layer._mean.set_value(0.1 * paddle.randn(layer._mean.shape))
            layer._variance.set_value(0.5 + paddle.rand(layer._variance.shape))
            layer.weight.set_value(1.0 + 0.1 * paddle.randn(layer.weight.shape))
    return model.eval()


def outputs(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]
