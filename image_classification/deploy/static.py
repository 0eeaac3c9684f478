"""A network as a static graph. Tracing changes the layers that it meets, so it always gets a copy."""
import contextlib
import copy
import functools

import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.cpu.paddle_internals import translated_once
from image_classification.errors import undisturbed
from image_classification.fuse import reparameterize
from image_classification.layers import beside, network_of


class Deployed(nn.Layer):
    """A copy of `network` on the CPU, in evaluation mode: (B, C, H, W) -> logits or, with `softmax`, probabilities
    (B, num_classes), at the temperature of its configuration. With `pixels`, a `Preprocess`, it takes uint8 (B, H, W, C). To be
    built and used within `on_cpu`.

    `make_copy` is a function that makes the copy.
    """

    def __init__(self, network, softmax=False, pixels=None, make_copy=copy.deepcopy):
        super().__init__()
        self.pixels = Pixels(pixels) if pixels else nn.Identity()
        self.network = make_copy(network)
        self.softmax = softmax
        self.temperature = getattr(getattr(network, 'config', None), 'TEMPERATURE', 1.0)
        self.to(device='cpu')
        self.eval()

    def forward(self, image):
        output = self.network(self.pixels(image))
        if self.temperature != 1.0 and self.softmax:
            output = output / self.temperature
        return F.softmax(output, axis=-1) if self.softmax else output


class Pixels(nn.Layer):
    """What a `Preprocess` does behind resizing and cropping: uint8 (B, H, W, C) -> normalized float32 (B, C, H, W)."""

    def __init__(self, preprocess):
        super().__init__()
        bgr = preprocess.color_order == 'BGR' and preprocess.channels > 2
        order = [2, 1, 0, *range(3, preprocess.channels)] if bgr else None
        factors = [1 / (255 * std) for std in preprocess.std]
        offsets = [-mean / std for mean, std in zip(preprocess.mean, preprocess.std)]
        for name, values in (('factors', factors), ('offsets', offsets)):
            values = [values[i] for i in order or range(preprocess.channels)]
            self.register_buffer(name, paddle.to_tensor(values, 'float32').reshape([-1, 1, 1]))
        self.order = order

    def forward(self, image):
        image = image.astype('float32').transpose([0, 3, 1, 2])    # (B, C, H, W)
        if self.order:
            image = paddle.concat([image[:, i:i + 1] for i in self.order], axis=1)
        return image * self.factors + self.offsets


def save_static(path, *arguments, **options):
    """Write what `to_static` makes of the other arguments: path.json or path.pdmodel, and path.pdiparams."""
    with translated_once(), undisturbed():                         # Paddle's tracer calls Python, and crashes at an exception
        paddle.jit.save(to_static(*arguments, **options), str(path))


def to_static(network, shape, softmax=False, pixels=None, **forms):
    """A traced copy of `network`, ready for `paddle.jit.save`. -1 in `shape` (B, C, H, W) leaves that dimension free.

    The copy is that of `fuse.reparameterize`, to which `forms` go. Not of `fuse`: the engines fold batch norms themselves
    (MobileNetV3-small, EfficientViT-M0: no difference), and in Paddle Inference without oneDNN the bias of a convolution costs
    more than the norm.
    """
    if pixels:
        shape = [shape[0], *shape[2:], shape[1]]                   # (B, H, W, C)
    spec = paddle.static.InputSpec(shape, 'uint8' if pixels else 'float32', 'image')
    make_copy = functools.partial(reparameterize, **forms)
    return paddle.jit.to_static(Deployed(network, softmax, pixels, make_copy), input_spec=[spec], full_graph=True)


def onednn_of(model):
    """What oneDNN should compute in Paddle Inference, as the network's family says in `reparameterize.py`: 'all' that it can,
    or the 'convolutions' alone."""
    network = network_of(model)
    return getattr(beside(network, 'reparameterize'), 'ONEDNN', {}).get(type(network), 'all')


@contextlib.contextmanager
def on_cpu():
    """Compute on the CPU for a while, whatever the device is: what a GPU calculates in TF32 is no reference."""
    device = paddle.get_device()
    paddle.set_device('cpu')
    try:
        yield
    finally:
        paddle.set_device(device)
