"""Batch norms: their running statistics, the only state of a network that differs between the processes of a training, and
their epsilon."""
from paddle import nn


def running_statistics(tensors):
    """The entries of {name: tensor} that are means and variances of batch norms.

    Paddle holds them as parameters that take no gradient, so `named_buffers()` lacks them.
    """
    return {name: tensor for name, tensor in tensors.items() if name.endswith(('._mean', '._variance'))}


def set_epsilon(network, epsilon):
    """Give all batch norms of a network, or of a part, this epsilon."""
    for layer in network.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer._epsilon = epsilon
