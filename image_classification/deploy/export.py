"""Static export, verified: what appears in the target directory has run and agreed with the network."""
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import yaml

import image_classification
from image_classification.datasets import Preprocess
from image_classification.deploy.static import Deployed, on_cpu, to_static
from image_classification.errors import UserError
from image_classification.weights import write_safetensors

FORMATS = ('paddle', 'pdmodel')                                    # inference.json, inference.pdmodel
TOLERANCE = 1e-4                                                   # relative to the output's standard deviation
ROUNDINGS = 10                                                     # or so many times the network's own error of float32
_SETTINGS = {'plain': 'without oneDNN', 'onednn': 'with oneDNN'}   # of deploy.inference
_CHILD_SECONDS = 600


def export_model(model, directory, class_names=None, format='paddle', softmax=False, image_size=None):
    """Write a network for Paddle Inference: inference.json (or .pdmodel), inference.pdiparams and inference.yaml.

    The batch size is free; height and width are, too, where the network allows it (`input.free_size` in inference.yaml).
    Paddle Inference, with oneDNN and without, must agree with the network before the directory appears.
    Args:
        model: of `create_model` or `load_network`; left as it is.
        directory: must not exist yet, or be empty.
        class_names: one per class, or None.
        format: 'paddle', or 'pdmodel' for Paddle-Lite and OpenVINO.
        softmax: put one at the end, so that the export gives probabilities.
        image_size: side of the square input in pixels; by default the configuration's DATA.IMAGE_SIZE.
    Returns:
        {batch size: largest difference, relative to the output's standard deviation}; inference.yaml has the absolute one.
    Raises:
        UserError: the directory is in use, the arguments do not fit, or the export differs from the network; nothing is
            left behind then.
    """
    if format not in FORMATS:
        raise UserError(f'export format is {format!r}; wanted one of {", ".join(FORMATS)}')
    target = _free_target(directory)
    preprocess = Preprocess.from_config(model.config, channels=model.config.MODEL.IN_CHANNELS)
    if image_size is not None:
        preprocess = replace(preprocess, image_size=image_size)
    try:
        # Beside the target, so that renaming it is one step that no reader can catch halfway.
        anchor = next(parent for parent in target.parents if parent.exists())
        with tempfile.TemporaryDirectory(prefix=f'.{target.name}.', dir=anchor, ignore_cleanup_errors=True) as workplace:
            ready = Path(workplace) / 'export'
            ready.mkdir()
            with on_cpu():
                cfg = _config_of_output(model, class_names, preprocess)
                free, differences = _write_verified(model, cfg, ready, preprocess, format, softmax)
            _write_yaml(ready / 'inference.yaml', cfg, preprocess, class_names, softmax, free, differences)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rmdir()                                     # an empty one: not every system renames onto it
            os.rename(ready, target)
    except OSError as error:
        raise UserError(f'cannot write the export {target}: {error.strerror or error}. Choose another directory.') from error
    return {batch: values['relative'] for batch, values in differences.items()}


def _free_target(directory):
    target = Path(directory).resolve()
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f'{directory} exists and is not empty; an export never overwrites. Remove it or choose another one.')
    if target.exists() and not target.is_dir():
        raise UserError(f'{directory} is a file; wanted a directory that does not exist yet')
    return target


def _config_of_output(model, class_names, preprocess):
    """The model's configuration with the number of classes it has now: `reset_classifier` may have changed it."""
    images = np.zeros([1, preprocess.channels, preprocess.image_size, preprocess.image_size], np.float32)
    output = _eager(Deployed(model), {'one': images})['one']
    if output is None:
        raise UserError(f'{type(model).__name__} does not give one tensor (B, num_classes); wanted a classifier, '
                        'not its feature maps')
    classes = output.shape[1]
    if class_names and len(class_names) != classes:
        raise UserError(f'{len(class_names)} class names for a network of {classes} classes; wanted one name per class')
    cfg = model.config.clone()
    cfg.defrost()
    cfg.MODEL.NUM_CLASSES = classes
    cfg.freeze()
    return cfg


def _write_verified(model, cfg, directory, preprocess, format, softmax):
    """Trace with free height and width or, where that fails, with fixed ones: (free?, differences of `_verify`)."""
    size, channels = preprocess.image_size, preprocess.channels
    try:
        _write(model, cfg, directory, [-1, channels, -1, -1], format, softmax)
        return True, _verify(model, directory, channels, [(size, size), (size + 32, size + 64)], softmax)
    except UserError:
        pass                                                       # if size is not the reason, the next lines say what is
    _write(model, cfg, directory, [-1, channels, size, size], format, softmax)
    return False, _verify(model, directory, channels, [(size, size)], softmax)


def _write(model, cfg, directory, shape, format, softmax):
    prefix = str(directory / 'inference')
    if format == 'paddle':
        try:
            paddle.jit.save(to_static(model, shape, softmax), prefix)
        except Exception as error:                                 # tracing runs the network's code: anything can come
            raise UserError(f'{cfg.MODEL.NAME} cannot be traced: {_reason(str(error))}') from error
        return
    with tempfile.TemporaryDirectory() as scratch:
        weights = str(Path(scratch) / 'weights.safetensors')
        write_safetensors(weights, {name: tensor.numpy() for name, tensor in model.state_dict().items()},
                          {'config': cfg.dump()})
        arguments = {'weights': weights, 'prefix': prefix, 'shape': shape, 'softmax': softmax}
        problem = _run_child('pdmodel', json.dumps(arguments), FLAGS_enable_pir_api='0')
    if problem:
        raise UserError(f'{cfg.MODEL.NAME} cannot be written as .pdmodel: {problem}')


def _verify(model, directory, channels, sizes, softmax):
    """{batch: {'absolute': ..., 'relative': ...}}, the largest differences from the network, over all `sizes` (H, W).

    Raises:
        UserError: Paddle Inference fails, or a difference exceeds the tolerance.
    """
    rng = np.random.default_rng(0)
    inputs = {f'{batch} {height}x{width}': rng.standard_normal([batch, channels, height, width], np.float32)
              for height, width in sizes for batch in (1, 3)}
    expected = _eager(Deployed(model, softmax), inputs)
    tolerance = max(TOLERANCE, ROUNDINGS * _rounding_error(model, softmax, inputs, expected))
    differences = {}
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor() as pool:
        given = str(Path(scratch) / 'inputs.npz')
        np.savez(given, **inputs)
        problems = pool.map(lambda setting: _run_child('inference', str(directory), setting, given, f'{scratch}/{setting}.npz'),
                            _SETTINGS)
        for (setting, name), problem in zip(_SETTINGS.items(), list(problems)):
            if problem:
                raise UserError(f'Paddle Inference {name} fails on the exported {type(model).__name__}: {problem}')
            with np.load(f'{scratch}/{setting}.npz') as outputs:
                for case in inputs:
                    found = _difference(expected[case], outputs[case])
                    if not found['relative'] <= tolerance:         # `not`: NaN is a difference, too
                        raise UserError(f'the exported {type(model).__name__} differs from the network by '
                                        f'{found["relative"]:.1e} of its output\'s standard deviation (batch and size {case}, '
                                        f'{name}); wanted at most {tolerance:.0e}')
                    known = differences.setdefault(int(case.split()[0]), found)
                    known.update({kind: max(known[kind], found[kind]) for kind in found})
    return differences


def _eager(network, inputs):
    """{name: output of the network as an array, or None where it is not (B, num_classes)}."""
    outputs = {}
    with paddle.no_grad():
        for name, images in inputs.items():
            try:
                output = network(paddle.to_tensor(images))
            except Exception as error:                             # e.g. position embeddings of another size
                raise UserError(f'the network fails on images {images.shape}: {_reason(str(error))}') from error
            outputs[name] = output.numpy() if isinstance(output, paddle.Tensor) and output.ndim == 2 else None
    return outputs


def _rounding_error(model, softmax, inputs, outputs):
    """Relative error of `outputs`, computed in float32, by the same network in float64: large in one that is hardly trained."""
    network = Deployed(model, softmax)
    network.to(dtype='float64')
    exact = _eager(network, {name: images.astype(np.float64) for name, images in inputs.items()})
    return max(_difference(exact[name], outputs[name])['relative'] for name in inputs)


def _difference(expected, found):
    if expected.shape != found.shape:
        return {'absolute': float('inf'), 'relative': float('inf')}
    expected = expected.astype(np.float64)
    absolute = float(np.abs(expected - found).max())
    # Outputs that hardly vary (an untrained classifier, one class) are measured by their size instead.
    scale = max(expected.std(), 1e-3 * np.abs(expected).max()) or 1.0
    return {'absolute': absolute, 'relative': float(absolute / scale)}


def _run_child(module, *arguments, **environment):
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
    return _reason(child.stderr) or f'it ended with exit code {child.returncode}'


def _reason(text):
    """The line of a long message of Paddle's that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r'[\w.]*(Error|Exception|NotMet|Fatal)\b.*\S', line)]
    return (telling or lines or [''])[-1][:300]


def _write_yaml(path, cfg, preprocess, class_names, softmax, free, differences):
    content = {
        'name': cfg.MODEL.NAME,
        'type': cfg.MODEL.TYPE,
        'input': {'name': 'image', 'channels': preprocess.channels, 'image_size': preprocess.image_size, 'free_size': free},
        'output': {'kind': 'probabilities' if softmax else 'logits', 'num_classes': cfg.MODEL.NUM_CLASSES},
        'preprocessing': preprocess.to_dict(),
        'class_names': [str(name) for name in class_names or []],
        'versions': {'paddle_mobile_backbones': image_classification.__version__, 'paddle': paddle.__version__},
        'differences': differences,                                # from the network, per batch size
        'model': yaml.safe_load(cfg.MODEL.dump()),
    }
    # Lists of numbers on one line each, names in their own script.
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=None, width=120)
    path.write_text(text, encoding='utf-8')
