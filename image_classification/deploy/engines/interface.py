"""What the engines have in common."""
from abc import ABC, abstractmethod

import numpy as np

from image_classification.errors import UserError


class Engine(ABC):
    """Runs a network: `outputs` are the names of its outputs, `input` the 'dtype' and 'layout' of the images that `run` takes.

    Each kind says its `name`, as users write it, the `module` that it needs, and the `extra` of setup.py that installs that.

    Args:
        where: what is run, for messages.
        dtype, layout: float32 and NCHW, or uint8 and NHWC where the preprocessing is part of the export.
    """
    name = module = extra = None
    outputs = ()
    network = None                                                 # the layers, where there are any

    def __init__(self, where, dtype='float32', layout='NCHW'):
        self._where, self.input = where, {'dtype': dtype, 'layout': layout}

    def run(self, images):
        """(B, C, H, W) float32 or (B, H, W, C) uint8, see `input` -> all outputs as arrays, in the network's order."""
        images = np.asarray(images)
        if images.ndim != 4 or images.dtype != self.input['dtype']:
            raise UserError(f'images {images.shape} of {images.dtype} do not fit {self._where}; wanted '
                            f'{self.input["layout"]} of {self.input["dtype"]}')
        return self._run(np.ascontiguousarray(images))

    @abstractmethod
    def _run(self, images):
        """What `run` gives, of images that are as the network wants them."""
