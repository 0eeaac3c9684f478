"""The base class of the engines."""
from abc import ABC, abstractmethod
from importlib import import_module, metadata
from importlib.util import find_spec

import numpy as np

from image_classification.errors import UserError, missing_package


class Engine(ABC):
    """Runs a network. `outputs` are the names of its outputs, `input` the 'dtype' and 'layout' of the images that `run` takes.

    Each subclass has a `name`, as users write it, the `module` that it imports, and the `extra` of setup.py that installs it.

    Args:
        where: what to call the network in messages.
        dtype, layout: float32 and NCHW, or uint8 and NHWC if the preprocessing is part of the export.
        batch, side: the batch size and the image side, if they are fixed. Other batches are split into batches of that size.
    """
    name = module = extra = None
    outputs = ()
    network = None                                                 # the Paddle network, if there is one

    def __init__(self, where, dtype='float32', layout='NCHW', batch=None, side=None):
        self._where, self.input = where, {'dtype': dtype, 'layout': layout}
        self._batch, self._side = batch, side

    def run(self, images):
        """All outputs as arrays, in the network's order, for images (B, C, H, W) float32 or (B, H, W, C) uint8: see `input`."""
        images = np.asarray(images)
        if images.ndim != 4 or images.dtype != self.input['dtype']:
            raise UserError(f'images {images.shape} of {images.dtype} do not fit {self._where}; wanted '
                            f'{self.input["layout"]} of {self.input["dtype"]}')
        height, width = images.shape[1:3] if self.input['layout'] == 'NHWC' else images.shape[2:]
        if self._side and (height, width) != (self._side, self._side):
            raise UserError(f'images of {height} x {width} pixels do not fit {self._where}, whose size is fixed; wanted '
                            f'{self._side} x {self._side}')
        if not self._batch or len(images) == self._batch:
            return self._run(np.ascontiguousarray(images))
        return self._run_in_parts(images)

    def _run_in_parts(self, images):
        """As `run`, if the batch size is fixed: in parts of that size. The last part is padded with zeros."""
        parts = []
        for start in range(0, max(len(images), 1), self._batch):
            part = images[start:start + self._batch]
            filled = np.concatenate([part, np.zeros((self._batch - len(part), *images.shape[1:]), images.dtype)])
            parts.append([output[:len(part)] for output in self._run(np.ascontiguousarray(filled))])
        return [np.concatenate(outputs) for outputs in zip(*parts)]

    @classmethod
    def installed(cls):
        """Whether the engine's package is installed."""
        return bool(find_spec(cls.module))

    @classmethod
    def missing(cls):
        """The UserError to raise if the engine is not installed."""
        return missing_package(cls.name, cls.extra)

    @classmethod
    def version(cls):
        """The version of the installed package."""
        module = import_module(cls.module)
        return getattr(module, '__version__', None) or metadata.version(cls.module)

    @abstractmethod
    def _run(self, images):
        """As `run`, for images that are known to have the right type, layout and size."""


def by_number(name):
    """A sort key for names of outputs, for engines that do not keep their order: map_10 comes after map_9."""
    _, _, number = name.rpartition('_')
    return int(number) if number.isdigit() else -1, name
