"""Compare networks with timm's counterparts, with random weights and batch norm statistics:

    python tools/maintenance/compare_timm.py --torch-python /path/to/python [PATTERN ...]

That Python has torch, timm and safetensors. PATTERN matches our variants, e.g. mobilenet_v4_*; tools/benchmarking/peers.yaml
has timm's names for them. timm's weights are saved as .safetensors and loaded here as a user would. A row shows

- `parameters`: the number of parameters, in both;
- `float64`, `float32`: the largest difference from timm's float64 logits, in their standard deviations, for a picture of the
  usual size and for one that is not square, if timm takes it. In brackets the same of timm's own float32: with sharp attention
  its rounding may exceed the limit of 1e-4, and then twice its difference is allowed;
- `features`: the same in float64 for timm's features_only, at each stride where both have as many channels, and their number;
- `gradients`: the largest relative difference of the norm of a parameter's gradient, in training mode and float64;
- `fused`: as `float32`, after image_classification.fuse;
- `written`: whether converting the weights back to timm's style gives what was loaded.

Batch norms whose epsilon differs from timm's, as in MobileNetV3, are rescaled, so their gradients differ. The command exits
with 1 if anything differs. With --record it only writes timm's keys and shapes for tests/test_published.py, with --golden the
recordings for tests/test_golden.py.
"""
import argparse
import fnmatch
import gzip
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import command_setup  # noqa: F401, E402  (first: before Paddle is imported)

import numpy as np  # noqa: E402
import paddle  # noqa: E402
import paddle.nn.functional as F  # noqa: E402
import safetensors.numpy  # noqa: E402
from benchmarking.contenders import PEERS  # noqa: E402

import image_classification as ic  # noqa: E402
from image_classification.deploy.complexity import count_parameters  # noqa: E402
from image_classification.errors import UserError, exit_with_message  # noqa: E402
from image_classification.weights import to_torch  # noqa: E402
from image_classification.weights.key_styles import published_names  # noqa: E402

LIMITS = {'float64': 2e-6, 'float32': 1e-4, 'features': 2e-6, 'gradients': 1e-4, 'fused': 1e-4}
DATA = Path(__file__).resolve().parents[2] / 'tests' / 'data'
QUIET = 1e-6                                                       # smaller norms, relative to the largest, count as this


class Timm:
    """A process of the other Python. `ask` sends a request and waits for the answer."""

    def __init__(self, python):
        script = Path(__file__).with_name('timm_side.py')
        self.process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ''
        answer = json.loads(line) if line else {'error': 'it ended; wanted a Python with torch, timm and safetensors'}
        if 'error' in answer:
            raise UserError(f'timm, {request["name"]}: {answer["error"]}')
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def loaded(name, weights, dtype):
    """Our network with these weights, in evaluation mode, with this dtype."""
    paddle.set_default_dtype(dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')                        # about parts that only training needs
            return ic.create_model(name, pretrained=str(weights)).eval()
    finally:
        paddle.set_default_dtype('float32')


def difference(found, wanted):
    found = found.numpy()
    if found.shape != wanted.shape:
        raise UserError(f'found a map of {list(found.shape)}, timm has {list(wanted.shape)}')
    return float(np.abs(found - wanted).max() / wanted.std())


def logits_differ(model, numbers, dtype, count):
    """The largest difference of the logits for each of the images."""
    with paddle.no_grad():
        return [difference(model(paddle.to_tensor(numbers[f'image{i}'], dtype)), numbers[f'logits{i}']) for i in range(count)]


def features_differ(model, numbers, strides):
    """(largest difference, number) of the maps at strides that both have."""
    with paddle.no_grad():
        maps = model.forward_intermediates(paddle.to_tensor(numbers['image0'], 'float64'))
    theirs = {stride: numbers[f'map{i}'] for i, stride in enumerate(strides)}       # the last of each stride
    found = [difference(value, theirs[stride]) for value, stride in zip(maps, model.feature_strides)
             if stride in theirs and theirs[stride].shape[1] == value.shape[1]]
    return max(found, default=0.0), len(found)


def gradients_differ(model, numbers, wanted):
    """The largest relative difference of the norm of a parameter's gradient. See QUIET for tiny norms."""
    for layer in model.sublayers():
        if isinstance(getattr(layer, 'p', None), float):           # dropout and stochastic depth
            layer.p = 0.0
    model.train()
    output = model(paddle.to_tensor(numbers['step_images'], 'float64'))
    logits = sum(output) / len(output) if isinstance(output, (list, tuple)) else output
    F.cross_entropy(logits, paddle.arange(len(logits))).backward()
    names, least = published_names(model, 'timm'), QUIET * max(wanted.values())
    found = {names[name]: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None and name in names}
    if found.keys() != wanted.keys():
        raise UserError(f'other parameters have gradients than in timm: {sorted(found.keys() ^ wanted.keys())[:5]}')
    return max(abs(found[key] - norm) / max(norm, least) for key, norm in wanted.items())


def is_written_back(model, weights):
    """Whether the network's weights, converted to timm's style, equal the file that they were loaded from."""
    theirs = safetensors.numpy.load_file(weights)
    theirs = {key: value for key, value in theirs.items() if not key.endswith('num_batches_tracked')}
    ours = to_torch(model, 'timm')
    return ours.keys() == theirs.keys() and all(np.allclose(ours[key], theirs[key], rtol=1e-5, atol=0) for key in theirs)


def compare(timm, name, folder):
    """{column: figure or list of figures} for one variant."""
    weights = folder / 'weights.safetensors'
    facts = timm.ask(do='compare', name=PEERS[name]['timm'], folder=str(folder), size=ic.get_config(name).DATA.IMAGE_SIZE)
    numbers, count = np.load(folder / 'numbers.npz'), len(facts['sizes'])
    single = loaded(name, weights, 'float32')
    row = {'parameters': (count_parameters(single), facts['parameters']), 'written': is_written_back(single, weights),
           'float32': logits_differ(single, numbers, 'float32', count), 'sizes': facts['sizes'], 'rounding': facts['rounding'],
           'fused': logits_differ(ic.fuse(single), numbers, 'float32', count), 'strides': len(set(facts['strides']))}
    del single
    double = loaded(name, weights, 'float64')
    row['float64'] = logits_differ(double, numbers, 'float64', count)
    row['features'], row['maps'] = features_differ(double, numbers, facts['strides'])
    row['gradients'] = gradients_differ(double, numbers, facts['gradients'])
    return row


def faults_of(row):
    """The columns of a row by which the two networks differ."""
    faults = [key for key, limit in LIMITS.items() if not np.max(row[key]) <= limit]
    rounded = {key for key in ('float32', 'fused') if all(ours <= max(LIMITS[key], 2 * theirs)
                                                          for ours, theirs in zip(row[key], row['rounding']))}
    faults = [key for key in faults if key not in rounded]
    return faults + ['parameters'] * (len(set(row['parameters'])) > 1) + ['written'] * (not row['written'])


def shown(name, row):
    sizes = ' and '.join('x'.join(map(str, shape[2:])) for shape in row['sizes'])
    both = {key: ' '.join(f'{value:.1e}' for value in row[key]) for key in ('float64', 'float32', 'rounding', 'fused')}
    return (f'{name:28} {row["parameters"][0]:>11,} parameters; {sizes}: float64 {both["float64"]}, float32 {both["float32"]} '
            f'(timm {both["rounding"]}), fused {both["fused"]}; {row["maps"]} of {row["strides"]} features {row["features"]:.1e}; '
            f'gradients {row["gradients"]:.1e}; '
            f'written back {"same" if row["written"] else "OTHER"}')


def record(timm, name):
    """Write {key: shape} of timm's network."""
    theirs = PEERS[name]['timm']
    shapes = {key: shape for key, shape, *_ in timm.ask(do='keys', name=theirs)['keys']}
    (DATA / 'published_keys' / f'timm_{theirs}.json.gz').write_bytes(gzip.compress(json.dumps(shapes).encode(), mtime=0))


def record_golden(timm, name, folder):
    """Write a recording of timm's outputs, with weights that are computed from names and shapes."""
    from tests.golden import entry
    from tests.networks import outline
    theirs, side = PEERS[name]['timm'], ic.get_config(name).DATA.IMAGE_SIZE
    keys = timm.ask(do='keys', name=theirs)['keys']
    state = {key: entry(key, shape) for key, shape, *_ in keys}
    given = {key: value for key, value in state.items() if value is not None}
    safetensors.numpy.save_file(given, folder / 'weights.safetensors')
    inputs = [{'seed': 0, 'shape': [2, 3, side, side]}, {'seed': 1, 'shape': [1, 3, side - 31, side + 36]}]
    try:
        found = timm.ask(do='record', name=theirs, folder=str(folder), inputs=inputs)
    except UserError:                                              # it accepts only one size
        del inputs[1:]
        found = timm.ask(do='record', name=theirs, folder=str(folder), inputs=inputs)
    meta = {'name': name, 'family': ic.get_config(name).MODEL.TYPE, 'reference': f'timm {found["version"]}',
            'constructor': f'timm.create_model({theirs!r})', 'scales': [], 'inputs': inputs, 'n_params': found['parameters'],
            'macs': found['macs'], 'macs_input': [1, *inputs[0]['shape'][1:]], 'outputs': found['outputs'],
            'features': found['features'], 'keys': keys}
    if outline(name).key_style != 'timm':
        meta['style'] = 'timm'                                     # the publisher of these keys
    numbers = dict(np.load(folder / 'numbers.npz'))
    numbers['key_sum'] = np.array([np.float64(given[key]).sum() if key in given else 0.0 for key, *_ in keys])
    np.savez_compressed(DATA / 'golden' / f'{name}.npz', **numbers)
    (DATA / 'golden' / f'{name}.json').write_text(json.dumps(meta) + '\n')


@exit_with_message
def main(argv=None):
    parser = argparse.ArgumentParser(description="Compare our networks with timm's, filled at random.")
    parser.add_argument('patterns', nargs='*', metavar='PATTERN', default=['*'], help='our variants, e.g. mobilenet_v4_*')
    parser.add_argument('--torch-python', required=True, metavar='PYTHON', help='a Python with torch, timm and safetensors')
    parser.add_argument('--record', action='store_true', help='write keys and shapes instead of comparing')
    parser.add_argument('--golden', action='store_true', help='write recordings for tests/test_golden.py instead of comparing')
    args = parser.parse_args(argv)
    names = [name for name in ic.list_models() if 'timm' in PEERS.get(name, {})
             and any(fnmatch.fnmatch(name, pattern) for pattern in args.patterns)]
    if not names:
        raise UserError(f'no variant of {" ".join(args.patterns)} has a name of timm in tools/benchmarking/peers.yaml')
    timm, faults = Timm(args.torch_python), []
    for name in names:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            if args.record:
                record(timm, name)
            elif args.golden:
                record_golden(timm, name, Path(folder))
            else:
                try:
                    row = compare(timm, name, Path(folder))
                except UserError as error:
                    faults.append(name)
                    print(f'{name:28} {error}', flush=True)
                    continue
                wrong = faults_of(row)
                faults += [name] * bool(wrong)
                print(shown(name, row), f'{"DIFFERS: " + ", ".join(wrong) if wrong else "equal"}, '
                      f'{time.monotonic() - start:.0f} s', flush=True)
    timm.close()
    if faults:
        raise UserError(f'{len(faults)} of {len(names)} networks differ from timm\'s: {", ".join(faults)}')


if __name__ == '__main__':
    main()
