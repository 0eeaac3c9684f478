"""The attention weights of a network as arrays: which tokens, pixels or channels each of them attends to.

The networks do not keep attention weights. Hooks record the inputs and outputs of layers during one forward pass, and the
softmax is computed again from them, so the models' code needs no change.

A family says how in `<family>/attention.py`, which is found by its name. It defines `WEIGHTS`, {class of a layer: (one of
KINDS, function)}. The function gets the layer and its recorded calls, {name: Call}: '' is the layer itself, other names are its
sublayers. It returns the fields of `AttentionMap` from `weights` on, as many as apply: (weights, a tensor (heads, queries,
keys); grid; query_pixels; key_pixels).
"""
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import paddle

from image_classification.config import families
from image_classification.errors import UserError
from image_classification.explain.inputs import check_network, explaining, network_input, watching
from image_classification.installation import PACKAGE
from image_classification.layers import beside

KINDS = {                                                          # kind: (what queries are, what keys are)
    'tokens to map': ('token', 'pixel'),                           # Mobile-Former: tokens attend to the map
    'map to tokens': ('pixel', 'token'),                           # Mobile-Former: the map attends to the tokens
    'tokens': ('token', 'token'),                                  # Mobile-Former: tokens attend to each other
    'pixels': ('pixel', 'pixel'),                                  # UniFormer's global relations
    'windows': ('pixel', 'pixel'),                                 # EfficientViT: pixels of a window attend to each other
    'channels': ('channel', 'channel'),                            # EdgeNeXt
    'kernels': ('channel', 'pixel'),                               # UniFormer's local relations, the same for every image
}


@dataclass(frozen=True)
class AttentionMap:
    """The attention of one layer for one image.

    `weights` (heads, queries, keys) lie between 0 and 1, and those of a query sum to 1. The exception is 'kernels': these are
    the weights of a depthwise convolution, (1, channels, k * k), of any sign.

    `query_pixels` (queries,) and `key_pixels` (keys,) give each one's pixel on the map, as row * width + column. `key_pixels`
    is (queries, keys) if each query has its own keys. -1 means no pixel: a class token, a pixel of padding, or
    UniFormer-Light's token that summarizes the pruned pixels. They are None if the queries or keys are tokens or channels.
    """
    layer: str                             # the layer's name, as in `model.named_sublayers()`
    kind: str                              # one of KINDS
    weights: np.ndarray
    grid: tuple = None                     # (h, w) of the map; for 'kernels', of the kernel
    query_pixels: np.ndarray = None
    key_pixels: np.ndarray = None

    def over_picture(self, index=None):
        """(heads, h, w): the weight that query `index` gives to each pixel; by default the mean over all queries. If the
        queries are pixels and the keys tokens, it is the weight that each pixel gives to token `index`.

        Raises:
            UserError: this is attention between tokens or channels, which have no place in the picture, or `index` is out of
                range.
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
        """The index of the query at a position of the picture, or None if there is none. `row` and `column` are 0 to 1, from
        the top and from the left."""
        h, w = self.grid
        pixel = min(int(row * h), h - 1) * w + min(int(column * w), w - 1)
        found = np.flatnonzero(self.query_pixels == pixel)
        return int(found[0]) if len(found) else None


class Call(NamedTuple):
    """One call of a layer: its inputs and its output."""
    inputs: tuple
    output: object


def attention_maps(model, image):
    """The weights of every attention layer for one image: a list of AttentionMap, in the order in which the layers run.

    Args:
        model, image: see `grad_cam`. The network's family must have an `attention.py`; the network needs no classes.
    Raises:
        UserError: the network has no attention, or the image cannot be read.
    """
    check_network(model)
    known = getattr(beside(model, 'attention'), 'WEIGHTS', {})
    readers = {name: next((known[kind] for kind in type(layer).__mro__ if kind in known), None)
               for name, layer in model.named_sublayers()}
    readers = {name: reader for name, reader in readers.items() if reader}
    if not readers:
        readable = [name for name in families() if (PACKAGE / name / 'attention.py').is_file()]
        raise UserError(f'{type(model).__name__} has no attention; wanted a network of one of {", ".join(readable)}. '
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
    """Run the network. Returns {name: Call} for the named layers and all their sublayers, in the order in which they finish."""
    calls = {}
    watched = {name: layer for name, layer in model.named_sublayers()
               if any(name == outer or name.startswith(f'{outer}.') for outer in names)}
    with watching(watched, lambda name, inputs, output: calls.__setitem__(name, Call(inputs, output))):
        model.forward_features(x)
    return calls
