"""A network as a static graph. Tracing changes the layers that it meets, so it always gets a copy."""
import contextlib
import copy

import paddle
import paddle.nn.functional as F
from paddle import nn


class Deployed(nn.Layer):
    """A copy of `network` on the CPU, in evaluation mode: (B, C, H, W) -> logits or, with `softmax`, probabilities
    (B, num_classes). To be built and used within `on_cpu`."""

    def __init__(self, network, softmax=False):
        super().__init__()
        self.network = copy.deepcopy(network)
        self.softmax = softmax
        self.to(device='cpu')
        self.eval()

    def forward(self, image):
        output = self.network(image)
        return F.softmax(output, axis=-1) if self.softmax else output


def to_static(network, shape, softmax=False):
    """A traced copy of `network`, ready for `paddle.jit.save`. -1 in `shape` (B, C, H, W) leaves that dimension free."""
    spec = paddle.static.InputSpec(shape, 'float32', 'image')
    return paddle.jit.to_static(Deployed(network, softmax), input_spec=[spec], full_graph=True)


@contextlib.contextmanager
def on_cpu():
    """Compute on the CPU for a while, whatever the device is: what a GPU calculates in TF32 is no reference."""
    device = paddle.get_device()
    paddle.set_device('cpu')
    try:
        yield
    finally:
        paddle.set_device(device)
