"""Networks for tests to which their weights do not matter, and what such tests need."""
import functools

import paddle
from paddle import nn

import image_classification as ic


# The first three blocks of MobileFormer-26M, as keys of its configuration, and two blocks or encoders of each kind.
_BLOCKS = {'IN_CHANNELS': [12, 12, 24], 'HIDDEN_CHANNELS': [36, 72, 72], 'OUT_CHANNELS': [12, 24, 24], 'KERNELS': [3, 3, 3],
           'STRIDES': [1, 2, 1], 'PADDINGS': [1, 1, 1]}
FEWER_BLOCKS = {
    'mobileformer_26m': {**{f'MODEL.MF.BLOCK.{key}': value for key, value in _BLOCKS.items()}, 'MODEL.MF.HEAD.IN_CHANNEL': 144,
                         'MODEL.MF.CHANNEL_CONV.IN_CHANNEL': 24, 'MODEL.MF.CHANNEL_CONV.OUT_CHANNEL': 144},
    'edgenext_xx_small': {'MODEL.EDGENEXT.DEPTHS': [1, 2, 2, 2]}}


def shallow(name, **overrides):
    """A network of few blocks, for 5 classes; `overrides` are keys of its configuration, written with __ for the dot."""
    overrides = {key.replace('__', '.'): value for key, value in overrides.items()}
    return ic.create_model(ic.get_config(name, {'MODEL.NUM_CLASSES': 5, **FEWER_BLOCKS[name], **overrides}))


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
    for name, parameter in model.named_parameters():
        if 'gamma' in name or 'layer_scale' in name:               # they start at 1e-6 to 1e-5
            parameter.set_value(0.5 + 0.5 * paddle.rand(parameter.shape))
    return model.eval()


def outputs(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]
