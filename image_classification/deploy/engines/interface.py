"""What the engines have in common."""
from abc import ABC, abstractmethod
from importlib import import_module, metadata
from importlib.util import find_spec

import numpy as np

from image_classification.errors import UserError, missing_package


class Engine(ABC):
    """Runs a network: `outputs` are the names of its outputs, `input` the 'dtype' and 'layout' of the images that `run` takes.

    Each kind says its `name`, as users write it, the `module` that it needs, and the `extra` of setup.py that installs that.

    Args:
        where: what is run, for messages.
        dtype, layout: float32 and NCHW, or uint8 and NHWC where the preprocessing is part of the export.
        batch, side: the only ones that it computes, if they are fixed; larger batches go through it in parts.
    """
    name = module = extra = None
    outputs = ()
    network = None                                                 # the layers, where there are any

    def __init__(self, where, dtype='float32', layout='NCHW', batch=None, side=None):
        self._where, self.input = where, {'dtype': dtype, 'layout': layout}
        self._batch, self._side = batch, side

    def run(self, images):
        """(B, C, H, W) float32 or (B, H, W, C) uint8, see `input` -> all outputs as arrays, in the network's order."""
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
        """As `run`, of a batch that is fixed; the last part is filled up with zeros."""
        parts = []
        for start in range(0, max(len(images), 1), self._batch):
            part = images[start:start + self._batch]
            filled = np.concatenate([part, np.zeros((self._batch - len(part), *images.shape[1:]), images.dtype)])
            parts.append([output[:len(part)] for output in self._run(np.ascontiguousarray(filled))])
        return [np.concatenate(outputs) for outputs in zip(*parts)]

    @classmethod
    def installed(cls):
        """Whether it is here."""
        return bool(find_spec(cls.module))

    @classmethod
    def missing(cls):
        """The UserError where it is not; raise it."""
        return missing_package(cls.name, cls.extra)

    @classmethod
    def version(cls):
        """Of the package that is installed."""
        module = import_module(cls.module)
        return getattr(module, '__version__', None) or metadata.version(cls.module)

    @abstractmethod
    def _run(self, images):
        """What `run` gives, of images that are as the network wants them."""


def by_number(name):
    """The place of an output where an engine has lost the order: map_10 stands behind map_9."""
    _, _, number = name.rpartition('_')
    return int(number) if number.isdigit() else -1, name
