"""Recorded outputs of the original networks under weights that follow from names and shapes (tests/data/golden).

A state entry of torch key `key` is drawn from PCG64(crc32(key)); a Paddle Linear weight is drawn transposed, and a batch
norm's `_mean`/`_variance` under the names `running_mean`/`running_var`. An input is standard normal from PCG64(seed).
"""
import json
import re
import zlib
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / 'data' / 'golden'


class Recording:
    """One network's recording: `meta` (keys, parameters, MACs, inputs) and `arrays` (outputs, feature statistics)."""

    def __init__(self, name):
        self.meta = json.loads((DATA / f'{name}.json').read_text())
        self.arrays = np.load(DATA / f'{name}.npz')

    def fill(self, model):
        """Give a Paddle-native network the weights of the recording."""
        for key, tensor in model.state_dict().items():
            tensor.set_value(paddle_entry(key, tensor.shape, self.meta['scales']).astype(str(tensor.dtype).split('.')[-1]))
        return model

    def inputs(self):
        return [standard_normal(item['seed'], item['shape']) for item in self.meta['inputs']]


def standard_normal(seed, shape):
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(shape)).astype(np.float32)


def paddle_entry(key, shape, scales):
    key = re.sub(r'\._mean$', '.running_mean', re.sub(r'\._variance$', '.running_var', key))
    if key.endswith('.weight') and len(shape) == 2:
        return entry(key, shape[::-1], scales).T
    return entry(key, shape, scales)


def entry(key, shape, scales=()):
    """The value of a state entry, float32."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    last = key.rsplit('.', 1)[-1]
    if last == 'running_var':
        value = 0.5 + rng.random(tuple(shape))
    else:
        noise = rng.standard_normal(tuple(shape))
        if last == 'running_mean':
            value = 0.1 * noise
        elif key == 'tokens':
            value = 0.5 * noise
        elif last == 'bias':
            value = 0.05 * noise
        elif len(shape) == 1:
            value = 1.0 + 0.1 * noise
        else:
            value = noise * np.sqrt(2.0 / np.prod(shape[1:]))
    factor = next((factor for pattern, factor in scales if re.search(pattern, key)), 1.0)
    return (value * factor).astype(np.float32)
