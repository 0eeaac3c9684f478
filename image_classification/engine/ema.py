"""Moving average of a network's weights and running statistics."""
from contextlib import contextmanager

import numpy as np
import paddle

from image_classification.cpu import operators
from image_classification.cpu.paddle_internals import coalesce
from image_classification.cpu.training_step import blend


class ModelEma:
    """Moving average: ema = d * ema + (1 - d) * weights after each step, with d = min(decay, (1 + step) / (10 + step)).

    The smaller d at the start, as in TensorFlow's ExponentialMovingAverage, makes the average forget the initial weights even
    in a short run. If `warmup` is False, d is always `decay`. If `enabled` is False, every method does nothing.
    """

    def __init__(self, model, decay, enabled=True, warmup=True):
        self.decay, self.warmup = decay, warmup
        self.average = {}
        if enabled:
            state = model.state_dict()
            self.tensors = list(state.values())                    # the network's own tensors
            self.sizes = np.array([tensor.size for tensor in self.tensors], np.int64)
            self.flat, views = coalesce([tensor.detach() for tensor in self.tensors])
            self.average = dict(zip(state, views))                 # views of `flat`, which share its memory

    @paddle.no_grad()
    def update(self, step):
        if not self.average:
            return
        weight = 1.0 - (min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay)
        if operators.serves(self.flat):
            blend(self.tensors, self.sizes, weight, self.flat)
        else:
            self.flat.add_(coalesce(self.tensors)[0].subtract_(self.flat).scale_(weight))

    @contextmanager
    def applied_to(self, model):
        """Give `model` the averaged weights within the block."""
        own = model.state_dict()
        backup = {name: own[name].detach().clone() for name in self.average}
        _assign(own, self.average)
        try:
            yield model
        finally:
            _assign(own, backup)

    def state_dict(self):
        return self.average

    def set_state_dict(self, arrays):
        for name, tensor in self.average.items():
            tensor.set_value(arrays[name])


@paddle.no_grad()
def _assign(tensors, values):
    for name, value in values.items():
        tensors[name].set_value(value)
