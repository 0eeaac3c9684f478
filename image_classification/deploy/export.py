"""Static export, verified: what appears in the target directory has run and agreed with the network."""
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import yaml

import image_classification
from image_classification.datasets import Preprocess
from image_classification.deploy.static import Deployed, on_cpu, to_static
from image_classification.deploy.verify import eager, reason, run_child, verify
from image_classification.errors import UserError
from image_classification.pretrained import DEFAULT
from image_classification.layers import FeatureExtractor
from image_classification.weights import write_safetensors

FORMATS = ('paddle', 'pdmodel')                                    # inference.json, inference.pdmodel


def export_model(model, directory, class_names=None, format='paddle', softmax=False, image_size=None):
    """Write a network for Paddle Inference: inference.json (or .pdmodel), inference.pdiparams and inference.yaml.

    The batch size is free; height and width are, too, where the network allows it (`input.free_size` in inference.yaml).
    Paddle Inference, with oneDNN and without, must agree with the network before the directory appears.
    Args:
        model: of `create_model` (with `features_only`, too) or `load_network`; left as it is. What it gives is what the export
            gives: logits, feature maps, or a detector's tensors.
        directory: must not exist yet, or be empty.
        class_names: one per class, or None; for logits only, like `softmax`.
        format: 'paddle', or 'pdmodel' for Paddle-Lite and OpenVINO.
        softmax: put one at the end, so that the export gives probabilities.
        image_size: side of the square input in pixels; by default the configuration's DATA.IMAGE_SIZE.
    Returns:
        {batch size: largest difference, relative to that output's standard deviation}; inference.yaml has the absolute one.
    Raises:
        UserError: the directory is in use, the arguments do not fit, or the export differs from the network; nothing is
            left behind then.
    """
    if format not in FORMATS:
        raise UserError(f'export format is {format!r}; wanted one of {", ".join(FORMATS)}')
    target = _free_target(directory)
    config = _network(model).config
    preprocess = Preprocess.from_config(config, channels=config.MODEL.IN_CHANNELS)
    if image_size is not None:
        preprocess = replace(preprocess, image_size=image_size)
    try:
        # Beside the target, so that renaming it is one step that no reader can catch halfway.
        anchor = next(parent for parent in target.parents if parent.exists())
        with tempfile.TemporaryDirectory(prefix=f'.{target.name}.', dir=anchor, ignore_cleanup_errors=True) as workplace:
            ready = Path(workplace) / 'export'
            ready.mkdir()
            with on_cpu():
                cfg, output = _examine(model, preprocess, class_names, softmax)
                free, names, differences = _write_verified(model, cfg, ready, preprocess, format, softmax)
            output['names'] = names
            _write_yaml(ready / 'inference.yaml', cfg, preprocess, class_names, output, free, differences)
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


def _network(model):
    """The network that bears the configuration: `model` itself, or the one whose feature maps it gives."""
    return model.network if isinstance(model, FeatureExtractor) else model


def _examine(model, preprocess, class_names, softmax):
    """(configuration with the number of classes that the network has now, since `reset_classifier` may have changed it;
    `output` of inference.yaml but for the outputs' names)."""
    images = {'one': np.zeros([1, preprocess.channels, preprocess.image_size, preprocess.image_size], np.float32)}
    network = _network(model)
    shapes = [array.shape for array in eager(Deployed(network), images)['one']]
    cfg = network.config.clone()
    classifies = len(shapes) == 1 and len(shapes[0]) == 2
    if classifies:
        cfg.defrost()
        cfg.MODEL.NUM_CLASSES = shapes[0][1]
        cfg.freeze()
    if classifies and model is network:
        if class_names and len(class_names) != cfg.MODEL.NUM_CLASSES:
            raise UserError(f'{len(class_names)} class names for a network of {cfg.MODEL.NUM_CLASSES} classes; wanted one name '
                            'per class')
        return cfg, {'kind': 'probabilities' if softmax else 'logits', 'num_classes': cfg.MODEL.NUM_CLASSES}
    if class_names or softmax:
        found = 'class names' if class_names else 'softmax'
        raise UserError(f'{found} for feature maps or a detector\'s tensors, which is what {cfg.MODEL.NAME} gives here; wanted '
                        f'{found} with logits only. Leave them out.')
    if model is not network:
        shapes = [array.shape for array in eager(Deployed(model), images)['one']]
    return cfg, _describe(shapes, model.strides if model is not network else getattr(model, 'feature_strides', ()))


def _describe(shapes, strides):
    """What the outputs of a network without classes are. `shapes` are those at `input.image_size`, with a free batch."""
    free = {'shapes': [[-1, *shape[1:]] for shape in shapes]}
    if len(shapes) == len(strides) and all(len(shape) == 4 for shape in shapes):
        return {'kind': 'maps', 'channels': [shape[1] for shape in shapes], 'strides': list(strides), **free}
    return {'kind': 'tensors', **free}


def _write_verified(model, cfg, directory, preprocess, format, softmax):
    """Trace with free height and width or, where that fails, with fixed ones: (free?, *what `verify` returns)."""
    size, channels = preprocess.image_size, preprocess.channels
    try:
        _write(model, cfg, directory, [-1, channels, -1, -1], format, softmax)
        return True, *verify(model, directory, channels, [(size, size), (size + 32, size + 64)], softmax)['paddle_inference']
    except UserError:
        pass                                                       # if size is not the reason, the next lines say what is
    _write(model, cfg, directory, [-1, channels, size, size], format, softmax)
    return False, *verify(model, directory, channels, [(size, size)], softmax)['paddle_inference']


def _write(model, cfg, directory, shape, format, softmax):
    prefix = str(directory / 'inference')
    if format == 'paddle':
        try:
            paddle.jit.save(to_static(model, shape, softmax), prefix)
        except Exception as error:                                 # tracing runs the network's code: anything can come
            raise UserError(f'{cfg.MODEL.NAME} cannot be traced: {reason(str(error))}') from error
        return
    network = _network(model)
    with tempfile.TemporaryDirectory() as scratch:
        weights = str(Path(scratch) / 'weights.safetensors')
        write_safetensors(weights, {name: tensor.numpy() for name, tensor in network.state_dict().items()},
                          {'config': cfg.dump()})
        arguments = {'weights': weights, 'prefix': prefix, 'shape': shape, 'softmax': softmax,
                     'levels': None if model is network else model.out_indices}
        problem = run_child('pdmodel', json.dumps(arguments), FLAGS_enable_pir_api='0')
    if problem:
        raise UserError(f'{cfg.MODEL.NAME} cannot be written as .pdmodel: {problem}')


def _write_yaml(path, cfg, preprocess, class_names, output, free, differences):
    model = yaml.safe_load(cfg.MODEL.dump())
    weights = {'name': cfg.MODEL.PRETRAINED}
    for i, entry in enumerate(model.pop('WEIGHTS')):
        if cfg.MODEL.PRETRAINED in (entry['TAG'], DEFAULT if i == 0 else None):
            weights.update({key.lower(): entry[key] for key in ('TAG', 'SOURCE', 'URL', 'LICENCE')})
    content = {
        'name': cfg.MODEL.NAME,
        'type': cfg.MODEL.TYPE,
        'input': {'name': 'image', 'channels': preprocess.channels, 'image_size': preprocess.image_size, 'free_size': free},
        'output': output,
        'preprocessing': preprocess.to_dict(),
        'class_names': [str(name) for name in class_names or []],
        'versions': {'paddle_mobile_backbones': image_classification.__version__, 'paddle': paddle.__version__},
        'differences': differences,                                # from the network, per batch size
        'model': model,
        'weights': weights,                                        # what the network started from: a published tag, or a file
    }
    # Lists of numbers on one line each, names in their own script.
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=None, width=120)
    path.write_text(text, encoding='utf-8')
