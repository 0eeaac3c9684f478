"""Running statistics of batch norms: the only state of a network that differs between the processes of a training."""


def running_statistics(tensors):
    """The entries of {name: tensor} that are means and variances of batch norms.

    Paddle holds them as parameters that take no gradient, so `named_buffers()` lacks them.
    """
    return {name: tensor for name, tensor in tensors.items() if name.endswith(('._mean', '._variance'))}
