"""PyTorch's default initialisation, which several publishers use, and a setter for parameters of another shape."""
from paddle import nn


def pytorch_uniform(fan_in):
    """Uniform within +-1 / sqrt(fan_in): PyTorch's default for weights and biases of convolutions and linear layers."""
    return nn.initializer.Uniform(-fan_in ** -0.5, fan_in ** -0.5)


def set_parameter(layer, name, value):
    """Set a parameter of a layer that may have had another shape, or None, before."""
    parameter = layer.create_parameter(value.shape, dtype=value.dtype)
    parameter.set_value(value)
    setattr(layer, name, parameter)
