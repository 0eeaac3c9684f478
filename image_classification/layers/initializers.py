"""Initial weights that several publishers leave at PyTorch's default."""
from paddle import nn


def pytorch_uniform(fan_in):
    """Uniform within +-1 / sqrt(fan_in): PyTorch's default for weights and biases of convolutions and linear layers."""
    return nn.initializer.Uniform(-fan_in ** -0.5, fan_in ** -0.5)
