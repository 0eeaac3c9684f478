"""Does an export give what its network gives? Engines run it in a process of its own, which may crash."""
from pathlib import Path

import numpy as np
from PIL import Image

from image_classification.deploy.child import reason, run_child
from image_classification.deploy.engines.choice import available
from image_classification.deploy.engines.eager import outputs_of
from image_classification.deploy.static import Deployed
from image_classification.deploy.trial import read_outputs
from image_classification.errors import UserError
from image_classification.files import temporary_directory

TOLERANCE = 1e-4                                                   # relative to the output's standard deviation
ROUNDINGS = 10                                                     # or so many times the network's own error of float32
_ONEDNN, _CONVOLUTIONS = 'paddle_inference/onednn', 'paddle_inference/convolutions'
_ENGINES = {                                                       # as `trial` takes them, and in words
    'paddle_inference/plain': 'Paddle Inference without oneDNN', _ONEDNN: 'Paddle Inference with oneDNN',
    _CONVOLUTIONS: 'Paddle Inference with oneDNN for convolutions',
    'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO', 'mnn': 'MNN', 'ncnn': 'ncnn', 'litert': 'LiteRT',
    'paddlelite': 'Paddle-Lite'}
# Engines of phones count less exactly. This is never exceeded there, however the network itself rounds.
_LOOSER = dict.fromkeys(('mnn', 'ncnn', 'litert', 'paddlelite'), 1e-3)


class Failure(UserError):
    """The network cannot be traced or converted, or its export fails or differs from it. With a fixed size that may go well."""


def verify(model, directory, preprocess, sizes, softmax=False, pixels=False, onednn='all', batches=(1, 3)):
    """Compare each output of an export with the network's, at all `batches` and `sizes` (H, W), in every engine that is
    installed and whose files are there.

    Args:
        directory: the ExportDirectory.
        onednn: what oneDNN computes best of this network, see Paddle Inference below.
    Returns:
        {engine: {'outputs': names, 'differences': {batch: {'absolute': ..., 'relative': ...}}}}, the largest differences over
        sizes and outputs. Paddle Inference runs without oneDNN, with it and, unless `onednn` is 'all', with it for convolutions
        alone: its entry 'onednn' says so then. Where oneDNN goes wrong, which happens on maps of one pixel, that is False and
        'onednn_problem' says why. `create_predictor` heeds both.
    Raises:
        Failure: an engine fails, or a difference exceeds the tolerance.
    """
    given, images = _inputs(preprocess, sizes, batches, pixels)
    expected = eager(Deployed(model, softmax), images)
    tolerances = [max(TOLERANCE, ROUNDINGS * error) for error in _rounding_errors(model, softmax, images, expected)]
    kind, found = type(model).__name__, {}
    left_out = {_CONVOLUTIONS} if onednn == 'all' else set()
    for engine, results in _run_engines(kind, directory, given, left_out):
        entry = found.setdefault(engine.split('/')[0], {'differences': {}})
        try:
            if isinstance(results, Failure):
                raise results
            allowed = [_LOOSER[engine]] * len(tolerances) if engine in _LOOSER else tolerances
            compared = {case: _compare(kind, expected[case], outputs, allowed, f'{case}, {_ENGINES[engine]}')
                        for case, outputs in results.items()}
        except Failure as error:
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


def _inputs(preprocess, sizes, batches, pixels):
    """({case: what the export takes}, {case: what the network takes})."""
    rng, channels = np.random.default_rng(0), preprocess.channels
    cases = {f'{batch} {height}x{width}': (batch, height, width) for height, width in sizes for batch in batches}
    if not pixels:
        images = {case: rng.standard_normal([b, channels, h, w], np.float32) for case, (b, h, w) in cases.items()}
        return images, images
    given = {case: rng.integers(0, 256, [b, h, w, channels], np.uint8) for case, (b, h, w) in cases.items()}
    pictures = {case: [Image.fromarray(image[:, :, 0] if channels == 1 else image) for image in batch]
                for case, batch in given.items()}
    return given, {case: np.stack([preprocess.to_input(picture) for picture in batch]) for case, batch in pictures.items()}


def _compare(kind, expected, outputs, tolerances, where):
    """The difference of each output; Failure where one exceeds its tolerance."""
    if len(outputs) != len(tolerances):
        raise Failure(f'the exported {kind} gives {len(outputs)} outputs, the network {len(tolerances)}')
    differences = []
    for (name, output), wanted, tolerance in zip(outputs.items(), expected, tolerances):
        found = _difference(wanted, output)
        if not found['relative'] <= tolerance:                     # `not`: NaN is a difference, too
            raise Failure(f'the exported {kind} differs from the network by {found["relative"]:.1e} of its output\'s '
                            f'standard deviation ({name}, batch and size {where}); wanted at most {tolerance:.0e}')
        differences.append(found)
    return differences


def _run_engines(kind, directory, inputs, left_out):
    """Yield (engine, {name of an input: {name of an output: array}}) for the engines that are here, run by another process; for
    one that fails (engine, Failure)."""
    present = set(directory.engines()).intersection(available())
    chosen = [engine for engine in _ENGINES if engine.split('/')[0] in present and engine not in left_out]
    while chosen:
        with temporary_directory() as scratch:
            given, results = str(Path(scratch) / 'inputs.npz'), [Path(scratch) / f'{i}.npz' for i in range(len(chosen))]
            np.savez(given, **inputs)
            pairs = [str(word) for pair in zip(chosen, results) for word in pair]
            problem = run_child('trial', str(directory), given, *pairs)
            while chosen and results[0].exists():
                yield chosen.pop(0), read_outputs(results.pop(0))
        if chosen:                                                 # the first engine that left none is the one that failed
            failed = chosen.pop(0)
            yield failed, Failure(f'{_ENGINES[failed]} fails on the exported {kind}: {problem}')


def eager(network, inputs):
    """{name: the network's outputs as a list of arrays} for {name: images (B, C, H, W)}."""
    outputs = {}
    for name, images in inputs.items():
        try:
            outputs[name] = outputs_of(network, images)
            if not all(np.isfinite(output).all() for output in outputs[name]):
                raise UserError('the network gives NaN or infinite numbers: its weights are spoilt. Export another checkpoint, '
                                'or other weights')
        except UserError as error:
            raise Failure(str(error)) from None
        except Exception as error:                                 # e.g. position embeddings of another size
            raise Failure(f'the network fails on images {images.shape}: {reason(str(error))}') from error
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
