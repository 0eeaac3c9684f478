"""Running statistics and epsilon of batch norms. The statistics are the only state of a network that differs between the
processes of a training."""
from paddle import nn


def running_statistics(tensors):
    """The entries of {name: tensor} that are means and variances of batch norms.

    Paddle stores them as parameters without gradient, so `named_buffers()` does not list them.
    """
    return {name: tensor for name, tensor in tensors.items() if name.endswith(('._mean', '._variance'))}


def set_epsilon(network, epsilon):
    """Set the epsilon of all batch norms of a network or a layer."""
    for layer in network.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer._epsilon = epsilon
