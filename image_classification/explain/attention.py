"""The attention of a network as arrays: what each token, pixel or channel takes from which others.

The networks keep none of it. What goes into and comes out of the layers is caught by hooks during one forward pass, and the
softmax is made again from that; the models' code stays as it is. How, a family says in `<family>/attention.py`, which is found
by its name: `WEIGHTS`, {class of a layer: (one of KINDS, function)}. The function gets the layer and its calls, {name: Call},
'' for the layer itself and otherwise for the layers below it, and returns the fields of `AttentionMap` from `weights` on, as
many as there are: (weights, a tensor (heads, queries, keys); grid; query_pixels; key_pixels).
"""
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paddle

from image_classification.errors import UserError
from image_classification.explain.inputs import check_network, explaining, network_input, watching
from image_classification.layers import beside

PACKAGE = Path(__file__).resolve().parents[1]
KINDS = {                                                          # kind: (what queries are, what keys are)
    'tokens to map': ('token', 'pixel'),                           # Mobile-Former: the tokens read the map
    'map to tokens': ('pixel', 'token'),                           # Mobile-Former: the map reads the tokens
    'tokens': ('token', 'token'),                                  # Mobile-Former: the tokens read each other
    'pixels': ('pixel', 'pixel'),                                  # UniFormer's global relations
    'windows': ('pixel', 'pixel'),                                 # EfficientViT: the pixels of a window read each other
    'channels': ('channel', 'channel'),                            # EdgeNeXt
    'kernels': ('channel', 'pixel'),                               # UniFormer's local relations, the same for every image
}


@dataclass(frozen=True)
class AttentionMap:
    """The attention of one layer for one image.

    `weights` (heads, queries, keys) are 0 to 1, and all keys of a query sum to 1. The exception is 'kernels': the weights of a
    depthwise convolution, (1, channels, k * k), of any sign.

    `query_pixels` (queries,) and `key_pixels` (keys,) or, where each query has its own, (queries, keys), say which pixel of the
    map one is: row * width + column. -1 is none: a class token, a pixel of padding, or the token that sums up the pixels which
    UniFormer-Light leaves out. They are None where queries or keys are tokens or channels.
    """
    layer: str                             # its name, as in `model.named_sublayers()`
    kind: str                              # one of KINDS
    weights: np.ndarray
    grid: tuple = None                     # (h, w) of the map; of 'kernels' that of the kernel
    query_pixels: np.ndarray = None
    key_pixels: np.ndarray = None

    def over_picture(self, index=None):
        """(heads, h, w): how much query `index` takes from each pixel; by default the mean of all queries. Where the pixels
        are the queries and tokens the keys, how much each pixel takes from token `index`.

        Raises:
            UserError: attention between tokens or channels, which has no place in the picture, or an index that is none.
        """
        if self.query_pixels is None and self.key_pixels is None:
            raise UserError(f'{self.layer} is attention among {self.kind}, which have no place in the picture; see its weights')
        weights, pixels = self.weights, self.key_pixels
        if pixels is None:
            weights, pixels = weights.transpose([0, 2, 1]), self.query_pixels
        if index is not None and not 0 <= index < weights.shape[1]:
            raise UserError(f'the index is {index}; wanted 0 to {weights.shape[1] - 1} for {self.layer}')
        chosen = slice(None) if index is None else slice(index, index + 1)
        pixels = np.broadcast_to(pixels, weights.shape[1:])[chosen]
        pictures = np.zeros([len(weights), self.grid[0] * self.grid[1]])
        for picture, rows in zip(pictures, weights[:, chosen]):
            np.add.at(picture, pixels[pixels >= 0], rows[pixels >= 0] / len(pixels))
        return pictures.reshape([-1, *self.grid]).astype(np.float32)

    def query_at(self, row, column):
        """The number of the query at a place of the picture, 0 to 1 from above and from the left; None where there is none."""
        h, w = self.grid
        pixel = min(int(row * h), h - 1) * w + min(int(column * w), w - 1)
        found = np.flatnonzero(self.query_pixels == pixel)
        return int(found[0]) if len(found) else None


class Call(NamedTuple):
    """What a layer was given, and what it gave."""
    inputs: tuple
    output: object


def attention_maps(model, image):
    """Every attention layer's weights for one image, list of AttentionMap in the order in which they run.

    Args:
        model, image: see `grad_cam`; a network of a family that has an `attention.py`, also without classes.
    Raises:
        UserError: another network, or an image that cannot be read.
    """
    check_network(model)
    known = getattr(beside(model, 'attention'), 'WEIGHTS', {})
    readers = {name: next((known[kind] for kind in type(layer).__mro__ if kind in known), None)
               for name, layer in model.named_sublayers()}
    readers = {name: reader for name, reader in readers.items() if reader}
    if not readers:
        families = sorted(path.parent.name for path in PACKAGE.glob('*/attention.py') if (path.parent / 'model.py').is_file())
        raise UserError(f'{type(model).__name__} has no attention; wanted a network of one of {", ".join(families)}. '
                        'grad_cam explains it')
    x, layers = network_input(model, image), dict(model.named_sublayers())
    with explaining(model), paddle.no_grad():
        calls = _record(model, readers, x)
        found = []
        for name in [name for name in calls if name in readers]:
            (kind, read), prefix = readers[name], f'{name}.'
            own = {'': calls[name], **{key[len(prefix):]: call for key, call in calls.items() if key.startswith(prefix)}}
            weights, *rest = read(layers[name], own)
            found.append(AttentionMap(name, kind, weights.astype('float32').numpy(), *rest))
    return found


def _record(model, names, x):
    """{name: Call} of a forward pass, of the layers of these names and all below them, in the order in which they end."""
    calls = {}
    watched = {name: layer for name, layer in model.named_sublayers()
               if any(name == outer or name.startswith(f'{outer}.') for outer in names)}
    with watching(watched, lambda name, inputs, output: calls.__setitem__(name, Call(inputs, output))):
        model.forward_features(x)
    return calls
