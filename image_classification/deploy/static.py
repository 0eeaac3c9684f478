"""A network as a static graph. Tracing changes the layers, so a copy of the network is traced."""
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
    """A copy of `network` on the CPU, in evaluation mode. Build and use it within `on_cpu`.

    It maps images (B, C, H, W) to logits or, with `softmax`, to probabilities (B, num_classes) at the temperature of the
    configuration. With `pixels`, a `Preprocess`, it takes uint8 images (B, H, W, C). `make_copy` copies the network.
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
    """The part of a `Preprocess` after resizing and cropping: uint8 (B, H, W, C) -> normalized float32 (B, C, H, W)."""

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
    """Trace with `to_static(*arguments, **options)`; write path.json or path.pdmodel, and path.pdiparams."""
    with translated_once(), undisturbed():                         # an exception in the Python code that Paddle traces crashes it
        paddle.jit.save(to_static(*arguments, **options), str(path))


def to_static(network, shape, softmax=False, pixels=None, **forms):
    """A traced copy of `network`, ready for `paddle.jit.save`. -1 in `shape` (B, C, H, W) makes that dimension dynamic.

    `fuse.reparameterize` makes the copy, with `forms` as its arguments. `fuse` is not used, for two reasons: the engines fold
    batch norms themselves (no difference for MobileNetV3-small and EfficientViT-M0), and in Paddle Inference without oneDNN
    the bias of a convolution costs more than the norm.
    """
    if pixels:
        shape = [shape[0], *shape[2:], shape[1]]                   # (B, H, W, C)
    spec = paddle.static.InputSpec(shape, 'uint8' if pixels else 'float32', 'image')
    make_copy = functools.partial(reparameterize, **forms)
    return paddle.jit.to_static(Deployed(network, softmax, pixels, make_copy), input_spec=[spec], full_graph=True)


def onednn_of(model):
    """What oneDNN should compute in Paddle Inference: 'all' that it can, or 'convolutions' only. The network's family says so
    in its `reparameterize.py`."""
    network = network_of(model)
    return getattr(beside(network, 'reparameterize'), 'ONEDNN', {}).get(type(network), 'all')


@contextlib.contextmanager
def on_cpu():
    """Compute on the CPU within this context: results that a GPU computes in TF32 are no reference."""
    device = paddle.get_device()
    paddle.set_device('cpu')
    try:
        yield
    finally:
        paddle.set_device(device)
