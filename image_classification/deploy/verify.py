"""Compares the outputs of an export with those of its network. Engines run in another process, because they may crash."""
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
from image_classification.layers import network_of

TOLERANCE = 1e-4                                                   # relative to the output's standard deviation
ROUNDINGS = 10                                                     # or this many times the network's own float32 error
_ONEDNN, _CONVOLUTIONS = 'paddle_inference/onednn', 'paddle_inference/convolutions'
_ENGINES = {                                                       # name for `trial`: name in messages
    'paddle_inference/plain': 'Paddle Inference without oneDNN', _ONEDNN: 'Paddle Inference with oneDNN',
    _CONVOLUTIONS: 'Paddle Inference with oneDNN for convolutions',
    'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO', 'mnn': 'MNN', 'ncnn': 'ncnn', 'litert': 'LiteRT',
    'paddlelite': 'Paddle-Lite'}
# Engines for phones compute less exactly. This limit holds for them whatever the network's own rounding error is.
_LOOSER = dict.fromkeys(('mnn', 'ncnn', 'litert', 'paddlelite'), 1e-3)


class Failure(UserError):
    """The network cannot be traced or converted, or its export fails or differs from it. A fixed size may help."""


def verify(model, directory, preprocess, sizes, softmax=False, pixels=False, onednn='all', batches=(1, 3)):
    """Compare each output of an export with the network's, at all `batches` and `sizes` (H, W), in every engine that is
    installed and has its files in the directory.

    Paddle Inference runs without oneDNN, with it and, if that fails or `onednn` is 'convolutions', with oneDNN for convolutions
    only. In the last case its entry has 'onednn': 'convolutions'. If that fails, too, it has 'onednn': False. 'onednn_problem'
    says why. `create_predictor` follows the entry 'onednn'.

    Args:
        directory: the ExportDirectory.
        onednn: the part of this network that oneDNN computes best: 'all' or 'convolutions'.
    Returns:
        {engine: {'outputs': names, 'differences': {batch: {'absolute': ..., 'relative': ...}}}}, the largest differences over
        sizes and outputs.
    Raises:
        Failure: an engine fails, or a difference exceeds the tolerance.
    """
    given, images = _inputs(preprocess, sizes, batches, pixels)
    expected = eager(Deployed(model, softmax), images)
    tolerances = [max(TOLERANCE, ROUNDINGS * error) for error in _rounding_errors(model, softmax, images, expected)]
    kind, found = type(model).__name__, {}
    present = set(directory.engines()).intersection(available())
    engines = [engine for engine in _ENGINES if engine.split('/')[0] in present]

    def compare(engines):
        for engine, results in _run_engines(kind, directory, given, engines):
            entry = found.setdefault(engine.split('/')[0], {'differences': {}})
            try:
                _judge(kind, entry, engine, results, expected, tolerances)
            except Failure as error:
                doubt = getattr(network_of(model), 'engines_may_differ', '')
                if not doubt:
                    raise
                raise Failure(f'{error}. {doubt}') from error
    compare([engine for engine in engines if engine != _CONVOLUTIONS or onednn != 'all'])
    if onednn == 'all' and 'onednn' in found.get('paddle_inference', {}):          # oneDNN fails; for convolutions, too?
        compare([_CONVOLUTIONS])
    return found


def _judge(kind, entry, engine, results, expected, tolerances):
    """Add an engine's results to its entry. Raises Failure if they are wrong, unless the engine is an option for another."""
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
        return
    if engine == _CONVOLUTIONS:
        entry['onednn'] = 'convolutions'
    entry['outputs'] = list(next(iter(results.values())))
    for case, differences in compared.items():
        for difference in differences:
            keep_largest(entry['differences'], int(case.split()[0]), difference)


def keep_largest(differences, batch, difference):
    """Update `differences`, {batch: largest 'absolute' and 'relative' difference so far}, with another difference."""
    known = differences.setdefault(batch, dict(difference))
    known.update({key: max(known[key], difference[key]) for key in difference})


def _inputs(preprocess, sizes, batches, pixels):
    """({case: input of the export}, {case: the same as input of the network})."""
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
    """The difference of each output. Raises Failure if one exceeds its tolerance."""
    if len(outputs) != len(tolerances):
        raise Failure(f'the exported {kind} gives {len(outputs)} outputs, the network {len(tolerances)}')
    differences = []
    for (name, output), wanted, tolerance in zip(outputs.items(), expected, tolerances):
        found = _difference(wanted, output)
        if not found['relative'] <= tolerance:                     # `not ... <=`, so that NaN fails, too
            raise Failure(f'the exported {kind} differs from the network by {found["relative"]:.1e} of its output\'s '
                            f'standard deviation ({name}, batch and size {where}); wanted at most {tolerance:.0e}')
        differences.append(found)
    return differences


def _run_engines(kind, directory, inputs, chosen):
    """Run each of the `chosen` engines in another process. Yields (engine, {input name: {output name: array}}), or
    (engine, Failure) for an engine that fails."""
    while chosen:
        with temporary_directory() as scratch:
            given, results = str(Path(scratch) / 'inputs.npz'), [Path(scratch) / f'{i}.npz' for i in range(len(chosen))]
            np.savez(given, **inputs)
            pairs = [str(word) for pair in zip(chosen, results) for word in pair]
            problem = run_child('trial', str(directory), given, *pairs)
            while chosen and results[0].exists():
                yield chosen.pop(0), read_outputs(results.pop(0))
        if chosen:                                                 # the first engine without results is the one that failed
            failed = chosen.pop(0)
            yield failed, Failure(f'{_ENGINES[failed]} fails on the exported {kind}: {problem}')


def eager(network, inputs):
    """Run the network on each of {name: images (B, C, H, W)}. Returns {name: list of output arrays}."""
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
    """The relative error of each float32 output, measured against the network in float64. It is large in networks that are
    hardly trained."""
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
