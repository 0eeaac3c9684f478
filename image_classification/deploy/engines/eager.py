"""A network as it was built, behind the interface of the engines."""
import threading

import paddle

from image_classification.deploy.engines.interface import Engine
from image_classification.errors import UserError


class Eager(Engine):
    """A classifier, on Paddle's current device; it computes for one thread after the other.

    Args:
        network: of `create_model`, in evaluation mode.
    """
    name, module = 'paddle', 'paddle'
    outputs = ['logits']

    def __init__(self, network):
        super().__init__(network.config.MODEL.NAME)
        self.network = network
        self._lock = threading.Lock()                              # Paddle's layers say nothing of threads

    def _run(self, images):
        with self._lock:
            return outputs_of(self.network, images)


@paddle.no_grad()
def outputs_of(network, images):
    """All outputs of a network for an array, as arrays. Raises UserError where it gives no tensors."""
    output = network(paddle.to_tensor(images))
    output = [output] if isinstance(output, paddle.Tensor) else output
    if not isinstance(output, (list, tuple)) or not all(isinstance(item, paddle.Tensor) for item in output):
        found = f'a {type(output).__name__}' if not isinstance(output, (list, tuple)) else 'a list with something else'
        raise UserError(f'the network gives {found}; wanted one tensor or a list of tensors')
    return [item.numpy() for item in output]
