"""Recorded outputs of the original networks under weights that follow from names and shapes (tests/data/golden).

A state entry of torch key `key` is drawn from PCG64(crc32(key)); a Paddle Linear weight is drawn transposed, and a batch
norm's `_mean`/`_variance` under the names `running_mean`/`running_var`. An input is standard normal from PCG64(seed).
"""
import json
import re
import zlib
from pathlib import Path

import numpy as np

from image_classification.weights import from_torch, load_state

DATA = Path(__file__).parent / 'data' / 'golden'
GAMMAS = ('gamma', 'gamma_xca', 'gamma_1', 'gamma_2', 'gamma_3')
# Recordings under another name than ours.
NAMES = {'ic_resnet50_det_k9': 'ic_resnet50', 'ic_resnet50_pose_k13': 'ic_resnet50_k13',
         'inception_v2_bfmd': 'inception_resnet_v2', 'mobilenet_v3_small': 'mobilenet_v3_small_x1_0',
         'mobilenet_v3_large': 'mobilenet_v3_large_x1_0'}


def our_name(recording):
    """The model that a recording belongs to."""
    name = NAMES.get(recording, recording).replace('seed_mobileformer', 'mobileformer')
    name = re.sub(r'^mobile_former_', 'mobileformer_official_', name)
    name = re.sub(r'^(efficientvit_m\d)_downstream$', r'\1_det', re.sub(r'^(efficientvit_m\d)_seed$', r'\1_yolo', name))
    name = re.sub(r'^(mobilenet_v1|mobilenet_v2|mobilenext)_(\d)(\d)(\d)$',
                  lambda m: f'{m[1]}_x{m[2]}_{(m[3] + m[4]).rstrip("0") or "0"}', name)
    return re.sub(r'^(shufflenet_v1_g\d)_(\d_\d)x$', r'\1_x\2', name)


def recordings():
    """Names of the recordings of a whole network in evaluation."""
    return sorted(path.stem for path in DATA.glob('*.json') if not re.search('^train_|_real_', path.stem))


class Recording:
    """One network's recording: `meta` (keys, parameters, MACs, inputs) and `arrays` (outputs, feature statistics)."""

    def __init__(self, name):
        self.meta = json.loads((DATA / f'{name}.json').read_text())
        self.arrays = np.load(DATA / f'{name}.npz')

    def torch_state(self):
        """{published key: array}, without the integer tables that stay as built."""
        state = {key: entry(key, shape, self.meta['scales']) for key, shape, *_ in self.meta['keys']}
        return {key: value for key, value in state.items() if value is not None}

    def fill(self, model):
        """Give the network the weights of the recording."""
        if self.meta.get('framework') == 'paddle':
            state = {key: paddle_entry(key, value.shape, self.meta['scales']) for key, value in model.state_dict().items()}
        else:
            state = from_torch(model, self.torch_state(), self.meta.get('style', ''))
        load_state(model, state, self.meta['name'])
        return model

    def inputs(self):
        return [standard_normal(item['seed'], item['shape']) for item in self.meta['inputs']]

    def outputs(self, j):
        """[(recorded values, stride with which they were sampled)] of input j, in the order of the network's outputs."""
        names = [name for name in self.meta['outputs'] if name.endswith(f'_{j}') and not name.startswith('probs')]
        sampled = self.meta.get('sampled_outputs') or {}
        return [(self.arrays[f'{name}_sample'], sampled[name]['stride']) if name in sampled else (self.arrays[name], 1)
                for name in names]


def standard_normal(seed, shape):
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(shape)).astype(np.float32)


def paddle_entry(key, shape, scales):
    key = re.sub(r'\._mean$', '.running_mean', re.sub(r'\._variance$', '.running_var', key))
    if key.endswith('.weight') and len(shape) == 2:
        return entry(key, shape[::-1], scales).T
    return entry(key, shape, scales)


def entry(key, shape, scales=()):
    """The value of a state entry, float32; None for an integer table."""
    last = key.rsplit('.', 1)[-1]
    if last in ('num_batches_tracked', 'attention_bias_idxs'):
        return np.zeros(shape, np.int64) if last == 'num_batches_tracked' else None
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    value = _value(key, last, tuple(shape), rng)
    factor = next((factor for pattern, factor in scales if re.search(pattern, key)), 1.0)
    return (value * factor).astype(np.float32)


def _value(key, last, shape, rng):
    if last == 'running_var':
        return 0.5 + rng.random(shape)
    noise = rng.standard_normal(shape)
    if last == 'running_mean':
        return 0.1 * noise
    if last in GAMMAS:
        return 0.3 + 0.05 * noise
    if last == 'temperature':
        return 2.0 + 0.2 * noise
    if last == 'attention_biases' or key in ('tokens', 'tokens.weight', 'cls_token'):
        return 0.5 * noise
    if last == 'bias':
        return 0.05 * noise
    return 1.0 + 0.1 * noise if len(shape) == 1 else noise * np.sqrt(2.0 / np.prod(shape[1:]))
