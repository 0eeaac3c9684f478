"""Does an export give what its network gives? Engines run it in a process of its own, which may crash."""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import paddle
from PIL import Image

import image_classification
from image_classification.deploy import engines
from image_classification.deploy.static import Deployed
from image_classification.errors import UserError

TOLERANCE = 1e-4                                                   # relative to the output's standard deviation
ROUNDINGS = 10                                                     # or so many times the network's own error of float32
_ONEDNN, _CONVOLUTIONS = 'paddle_inference/onednn', 'paddle_inference/convolutions'
_ENGINES = {                                                       # as deploy.engines takes them, and in words
    'paddle_inference/plain': 'Paddle Inference without oneDNN', _ONEDNN: 'Paddle Inference with oneDNN',
    _CONVOLUTIONS: 'Paddle Inference with oneDNN for convolutions',
    'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO'}
_CHILD_SECONDS = 600


def verify(model, directory, preprocess, sizes, softmax=False, pixels=False, onednn='all'):
    """Compare each output of the export in `directory` with the network's, at batches 1 and 3 and all `sizes` (H, W), in every
    engine that is installed and whose files are there.

    Returns:
        {engine: {'outputs': names, 'differences': {batch: {'absolute': ..., 'relative': ...}}}}, the largest differences over
        sizes and outputs. Paddle Inference runs without oneDNN, with it and, unless `onednn` is 'all', with it for convolutions
        alone: its entry 'onednn' says so then. Where oneDNN goes wrong, which happens on maps of one pixel, that is False and
        'onednn_problem' says why. `create_predictor` heeds both.
    Raises:
        UserError: an engine fails, or a difference exceeds the tolerance.
    """
    given, images = _inputs(preprocess, sizes, pixels)
    expected = eager(Deployed(model, softmax), images)
    tolerances = [max(TOLERANCE, ROUNDINGS * error) for error in _rounding_errors(model, softmax, images, expected)]
    kind, found = type(model).__name__, {}
    left_out = {_CONVOLUTIONS} if onednn == 'all' else set()
    for engine, results in _run_engines(kind, directory, given, left_out):
        entry = found.setdefault(engine.split('/')[0], {'differences': {}})
        try:
            if isinstance(results, UserError):
                raise results
            compared = {case: _compare(kind, expected[case], outputs, tolerances, f'{case}, {_ENGINES[engine]}')
                        for case, outputs in results.items()}
        except UserError as error:
            if engine not in (_ONEDNN, _CONVOLUTIONS):
                raise
            entry.update(onednn=False, onednn_problem=str(error))
            continue
        if engine == _CONVOLUTIONS:
            entry['onednn'] = 'convolutions'
        entry['outputs'] = list(results[next(iter(given))])
        for case, differences in compared.items():
            for difference in differences:
                keep_largest(entry['differences'], int(case.split()[0]), difference)
    return found


def keep_largest(differences, batch, difference):
    """Put {'absolute': ..., 'relative': ...} into {batch: the largest of each}."""
    known = differences.setdefault(batch, dict(difference))
    known.update({key: max(known[key], difference[key]) for key in difference})


def _inputs(preprocess, sizes, pixels):
    """({case: what the export takes}, {case: what the network takes})."""
    rng, channels = np.random.default_rng(0), preprocess.channels
    cases = {f'{batch} {height}x{width}': (batch, height, width) for height, width in sizes for batch in (1, 3)}
    if not pixels:
        images = {case: rng.standard_normal([b, channels, h, w], np.float32) for case, (b, h, w) in cases.items()}
        return images, images
    given = {case: rng.integers(0, 256, [b, h, w, channels], np.uint8) for case, (b, h, w) in cases.items()}
    pictures = {case: [Image.fromarray(image[:, :, 0] if channels == 1 else image) for image in batch]
                for case, batch in given.items()}
    return given, {case: np.stack([preprocess.to_input(picture) for picture in batch]) for case, batch in pictures.items()}


def _compare(kind, expected, outputs, tolerances, where):
    """The difference of each output; UserError where one exceeds its tolerance."""
    if len(outputs) != len(tolerances):
        raise UserError(f'the exported {kind} gives {len(outputs)} outputs, the network {len(tolerances)}')
    differences = []
    for (name, output), wanted, tolerance in zip(outputs.items(), expected, tolerances):
        found = _difference(wanted, output)
        if not found['relative'] <= tolerance:                     # `not`: NaN is a difference, too
            raise UserError(f'the exported {kind} differs from the network by {found["relative"]:.1e} of its output\'s '
                            f'standard deviation ({name}, batch and size {where}); wanted at most {tolerance:.0e}')
        differences.append(found)
    return differences


def _run_engines(kind, directory, inputs, left_out):
    """Yield (engine, {name of an input: {name of an output: array}}) for the engines that are here, run by another process; for
    one that fails (engine, UserError)."""
    present = set(engines.engines_of(directory)).intersection(engines.available())
    chosen = [engine for engine in _ENGINES if engine.split('/')[0] in present and engine not in left_out]
    while chosen:
        with tempfile.TemporaryDirectory() as scratch:
            given, results = str(Path(scratch) / 'inputs.npz'), [Path(scratch) / f'{i}.npz' for i in range(len(chosen))]
            np.savez(given, **inputs)
            pairs = [str(word) for pair in zip(chosen, results) for word in pair]
            problem = run_child('engines', str(directory), given, *pairs)
            while chosen and results[0].exists():
                yield chosen.pop(0), _read(results.pop(0))
        if chosen:                                                 # the first engine that left none is the one that failed
            failed = chosen.pop(0)
            yield failed, UserError(f'{_ENGINES[failed]} fails on the exported {kind}: {problem}')


def _read(file):
    """{name of an input: {name of an output: array}} of what `engines.main` has written."""
    cases = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            case, _, name = key.split('/', 2)
            cases.setdefault(case, {})[name] = arrays[key]
    return cases


def eager(network, inputs):
    """{name: the network's outputs as a list of arrays} for {name: images (B, C, H, W)}."""
    outputs = {}
    with paddle.no_grad():
        for name, images in inputs.items():
            try:
                output = network(paddle.to_tensor(images))
            except Exception as error:                             # e.g. position embeddings of another size
                raise UserError(f'the network fails on images {images.shape}: {reason(str(error))}') from error
            output = [output] if isinstance(output, paddle.Tensor) else output
            if not isinstance(output, (list, tuple)) or not all(isinstance(item, paddle.Tensor) for item in output):
                found = f'a {type(output).__name__}' if not isinstance(output, (list, tuple)) else 'a list with something else'
                raise UserError(f'the network gives {found}; wanted one tensor or a list of tensors')
            outputs[name] = [item.numpy() for item in output]
    return outputs


def _rounding_errors(model, softmax, inputs, outputs):
    """Of each output, computed in float32, the relative error by the same network in float64: large in one hardly trained."""
    network = Deployed(model, softmax)
    network.to(dtype='float64')
    exact = eager(network, {name: images.astype(np.float64) for name, images in inputs.items()})
    errors = [[_difference(*pair)['relative'] for pair in zip(exact[name], outputs[name])] for name in inputs]
    return np.max(errors, axis=0)


def _difference(expected, found):
    if expected.shape != found.shape:
        return {'absolute': float('inf'), 'relative': float('inf')}
    expected = expected.astype(np.float64)
    absolute = float(np.abs(expected - found).max())
    # Outputs that hardly vary (an untrained classifier, one class) are measured by their size instead.
    scale = max(expected.std(), 1e-3 * np.abs(expected).max()) or 1.0
    return {'absolute': absolute, 'relative': float(absolute / scale)}


def run_child(module, *arguments, **environment):
    """Run `image_classification.deploy.<module>` as a program. None, or what went wrong in one line."""
    path = [str(Path(image_classification.__file__).resolve().parent.parent), os.environ.get('PYTHONPATH', '')]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, path)), 'GLOG_minloglevel': '2', **environment}
    command = [sys.executable, '-W', 'ignore', '-m', f'image_classification.deploy.{module}', *arguments]
    try:
        child = subprocess.run(command, env=environment, capture_output=True, text=True, errors='replace',
                               stdin=subprocess.DEVNULL, timeout=_CHILD_SECONDS)
    except subprocess.TimeoutExpired:
        return f'it did not end within {_CHILD_SECONDS} s'
    if child.returncode == 0:
        return None
    return reason(child.stderr) or f'it ended with exit code {child.returncode}'


def reason(text):
    """The line of a long message of Paddle's that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r'[\w.]*(Error|Exception|NotMet|Fatal)\b.*\S', line)]
    return (telling or lines or [''])[-1][:300]
