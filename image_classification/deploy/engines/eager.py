"""Runs a Paddle network through the interface of the engines."""
import threading

import paddle

from image_classification.deploy.engines.interface import Engine
from image_classification.errors import UserError


class Eager(Engine):
    """A classifier on Paddle's current device. It serves one thread at a time.

    Args:
        network: from `create_model`, in evaluation mode.
    """
    name, module = 'paddle', 'paddle'
    outputs = ['logits']

    def __init__(self, network):
        super().__init__(network.config.MODEL.NAME)
        self.network = network
        self._lock = threading.Lock()                              # Paddle does not document layers as thread-safe

    def _run(self, images):
        with self._lock:
            return outputs_of(self.network, images)


@paddle.no_grad()
def outputs_of(network, images):
    """All outputs of a network for an array of images, as arrays. Raises UserError if an output is not a tensor."""
    output = network(paddle.to_tensor(images))
    output = [output] if isinstance(output, paddle.Tensor) else output
    if not isinstance(output, (list, tuple)) or not all(isinstance(item, paddle.Tensor) for item in output):
        found = f'a {type(output).__name__}' if not isinstance(output, (list, tuple)) else 'a list with something else'
        raise UserError(f'the network gives {found}; wanted one tensor or a list of tensors')
    return [item.numpy() for item in output]
