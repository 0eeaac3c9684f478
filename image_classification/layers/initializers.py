"""Initial weights that several publishers leave at PyTorch's default, and weights put in place later."""
from paddle import nn


def pytorch_uniform(fan_in):
    """Uniform within +-1 / sqrt(fan_in): PyTorch's default for weights and biases of convolutions and linear layers."""
    return nn.initializer.Uniform(-fan_in ** -0.5, fan_in ** -0.5)


def set_parameter(layer, name, value):
    """Put a new parameter in the place of one of another shape, or of none."""
    parameter = layer.create_parameter(value.shape, dtype=value.dtype)
    parameter.set_value(value)
    setattr(layer, name, parameter)
