"""The content of inference.yaml: what a user of an export needs to know."""
import numpy as np
import paddle
import yaml

import image_classification
from image_classification.config import changed
from image_classification.deploy.static import Deployed
from image_classification.deploy.verify import eager
from image_classification.errors import UserError
from image_classification.layers import network_of
from image_classification.weights.catalogue import meant


def examine(model, preprocess, class_names, softmax):
    """Run the network once. Returns (configuration, `output` of inference.yaml without the outputs' names).

    The configuration has the network's present number of classes, since `reset_classifier` may have changed it.
    """
    images = {'one': np.zeros([1, preprocess.channels, preprocess.image_size, preprocess.image_size], np.float32)}
    network = network_of(model)
    shapes = [array.shape for array in eager(Deployed(model), images)['one']]
    cfg = network.config
    if model is network and len(shapes) == 1 and len(shapes[0]) == 2:
        cfg = changed(cfg, {'MODEL.NUM_CLASSES': shapes[0][1]})
        if class_names and len(class_names) != cfg.MODEL.NUM_CLASSES:
            raise UserError(f'{len(class_names)} class names for a network of {cfg.MODEL.NUM_CLASSES} classes; wanted one name '
                            'per class')
        return cfg, {'kind': 'probabilities' if softmax else 'logits', 'num_classes': cfg.MODEL.NUM_CLASSES}
    if class_names or softmax:
        found = 'class names' if class_names else 'softmax'
        raise UserError(f'{found} for feature maps or a detector\'s tensors, which is what {cfg.MODEL.NAME} gives here; wanted '
                        f'{found} with logits only. Leave them out.')
    return cfg, _describe(shapes, model.strides if model is not network else getattr(model, 'feature_strides', ()))


def _describe(shapes, strides):
    """`output` of inference.yaml for a network without classes. Its shapes are those at `input.image_size`, with a dynamic
    batch size."""
    free = {'shapes': [[-1, *shape[1:]] for shape in shapes]}
    if len(shapes) == len(strides) and all(len(shape) == 4 for shape in shapes):
        return {'kind': 'maps', 'channels': [shape[1] for shape in shapes], 'strides': list(strides), **free}
    return {'kind': 'tensors', **free}


def output_names(output):
    """Names of the outputs, for formats that allow a choice: logits, probabilities, map_0, ... or tensor_0, ..."""
    if 'shapes' not in output:
        return [output['kind']]
    return [f'{output["kind"].removesuffix("s")}_{i}' for i in range(len(output['shapes']))]


def describe(cfg, preprocess, class_names, output, pixels, free, batch=None):
    """The content of inference.yaml without the results of verification. `batch` is the batch size, if it is fixed."""
    if batch and 'shapes' in output:
        output = {**output, 'shapes': [[batch, *shape[1:]] for shape in output['shapes']]}
    model = yaml.safe_load(cfg.MODEL.dump())
    weights = {'name': cfg.PRETRAINED}
    entry = meant(cfg.PUBLISHED.WEIGHTS, cfg.PRETRAINED) or {}
    weights.update({key.lower(): entry[key] for key in ('TAG', 'SOURCE', 'URL', 'PACKAGE', 'LICENCE') if key in entry})
    return {
        'name': cfg.MODEL.NAME,
        'type': cfg.MODEL.TYPE,
        'input': {'name': 'image', 'dtype': 'uint8' if pixels else 'float32', 'layout': 'NHWC' if pixels else 'NCHW',
                  'channels': preprocess.channels, 'image_size': preprocess.image_size, 'free_size': free,
                  **({'batch': batch} if batch else {})},
        'output': output,
        'preprocessing': preprocess.to_dict(),                     # with uint8 input, scaling and normalizing are in the graph
        'calibration': {'temperature': cfg.TEMPERATURE},           # divide logits by it; probabilities already include it
        'class_names': [str(name) for name in class_names or []],
        'versions': {'paddle_mobile_backbones': image_classification.__version__, 'paddle': paddle.__version__},
        'model': model,
        'weights': weights,                                        # what training started from: a published tag, or a file
    }
