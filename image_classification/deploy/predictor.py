"""Pictures in, probabilities out, from a checkpoint or from an export."""
import os
from itertools import islice
from pathlib import Path

import numpy as np
import paddle
import yaml
from PIL import Image

from image_classification.datasets import Preprocess
from image_classification.datasets.images import open_image
from image_classification.deploy import inference
from image_classification.engine.checkpoint import load_network
from image_classification.errors import UserError

ENGINES = ('auto', 'paddle', 'inference')


class Predictor:
    """A network with its preprocessing and its class names (`preprocess`, `class_names`, `name`).

    Args:
        path: a checkpoint (.safetensors), an export directory, or the inference.yaml in one.
        engine: 'paddle' runs a checkpoint, on Paddle's current device; 'inference' runs an export by Paddle Inference, on
            the CPU; 'auto' is the one of them that fits.
        batch_size: images that pass the network at once.
    Raises:
        UserError: a path that is neither, a damaged file, an engine that does not fit, an export that gives no classes.
    """

    def __init__(self, path, engine='auto', batch_size=32):
        path = Path(path)
        _check(engine, batch_size)
        if path.name == 'inference.yaml':
            path = path.parent
        if path.is_dir():
            _fits(engine, 'inference', f'{path} is an export')
            self._open_export(path)
        elif path.is_file() and path.suffix == '.safetensors':
            _fits(engine, 'paddle', f'{path} is a checkpoint')
            self._open_checkpoint(path)
        else:
            found = 'is something else' if path.exists() else 'does not exist'
            raise UserError(f'{path} {found}; wanted a checkpoint (.safetensors) or the directory of an export')
        self.batch_size = batch_size

    def _open_checkpoint(self, path):
        network, class_names = load_network(path)
        cfg = network.config
        self.name = cfg.MODEL.NAME
        self.preprocess = Preprocess.from_config(cfg, channels=cfg.MODEL.IN_CHANNELS)
        self._name_classes(class_names, cfg.MODEL.NUM_CLASSES)
        self._gives_logits = True

        def run(images):
            with paddle.no_grad():
                return network(paddle.to_tensor(images)).numpy()
        self._run = run

    def _open_export(self, directory):
        description = _read_description(directory / 'inference.yaml')
        try:
            self.name = description['name']
            self.preprocess = Preprocess.from_dict(description['preprocessing'])
            _gives_classes(directory, description['output'])
            self._name_classes(description['class_names'], description['output']['num_classes'])
            self._gives_logits = {'logits': True, 'probabilities': False}[description['output']['kind']]
        except (KeyError, TypeError) as error:
            raise UserError(f'{directory / "inference.yaml"} lacks or misstates {error}; export the model again') from None
        present = {file.name for file in directory.iterdir()}
        if inference.WEIGHTS not in present or not present.intersection(inference.PROGRAMS):
            raise UserError(f'{directory} lacks {inference.WEIGHTS}, or both {" and ".join(inference.PROGRAMS)}; wanted a '
                            'whole export')
        try:
            engine = inference.create_predictor(directory)
        except Exception as error:                                 # Paddle's C++ errors have no common class
            reason = (str(error).strip().splitlines() or ['no reason given'])[0]
            raise UserError(f'Paddle Inference cannot read {directory} ({reason}); export the model again') from error
        self._run = lambda images: inference.run(engine, images)[0]

    def _name_classes(self, names, count):
        self.class_names = list(names) or [str(index) for index in range(count)]

    def predict(self, images):
        """Probabilities of every class, (N, num_classes) float32.

        Args:
            images: an iterable of PIL images, paths, or uint8 arrays (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).
        Raises:
            UserError: an image that cannot be read, or something that is none.
        """
        if isinstance(images, (str, os.PathLike, Image.Image)) or isinstance(images, np.ndarray) and images.ndim < 4:
            images = [images]                                      # one image: iterating would give letters or rows
        images = iter(images)
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        while batch := [self._array(image) for image in islice(images, self.batch_size)]:
            parts.append(self._probabilities(batch))
        return np.concatenate(parts)

    def predict_files(self, paths):
        """Yield (path, probabilities (num_classes,) or the UserError of a file that cannot be read), a batch in memory."""
        paths = iter(paths)
        while batch := list(islice(paths, self.batch_size)):
            read = {}
            for index, path in enumerate(batch):
                try:
                    read[index] = self._array(path)
                except UserError as error:
                    batch[index] = (path, error)
            if read:
                for index, probabilities in zip(read, self._probabilities(list(read.values()))):
                    batch[index] = (batch[index], probabilities)
            yield from batch

    def top_k(self, probabilities, k):
        """The k most probable classes of one image, the best first: [(class name, probability)]."""
        best = np.argsort(-probabilities, kind='stable')[:k]
        return [(self.class_names[index], float(probabilities[index])) for index in best]

    def _array(self, image):
        """One image of any kind -> (C, H, W) float32, preprocessed."""
        if isinstance(image, (str, os.PathLike)):
            image = open_image(image, self.preprocess.channels)
        elif isinstance(image, np.ndarray):
            image = _from_array(image)
        elif not isinstance(image, Image.Image):
            raise UserError(f'a {type(image).__name__} is no image; wanted a path, a PIL image or a uint8 array (H, W, C)')
        return self.preprocess(image)

    def _probabilities(self, arrays):
        output = self._run(np.stack(arrays))
        return _softmax(output) if self._gives_logits else output


def _check(engine, batch_size):
    if engine not in ENGINES:
        raise UserError(f'the engine is {engine!r}; wanted one of {", ".join(ENGINES)}')
    if batch_size < 1:
        raise UserError(f'the batch size is {batch_size}; wanted at least 1')


def _fits(engine, wanted, found):
    if engine not in ('auto', wanted):
        raise UserError(f'{found}, which the engine {engine!r} does not run; wanted {wanted!r} or \'auto\'')


def _gives_classes(directory, output):
    """Raise UserError for the export of another network than a classifier."""
    kinds = {'maps': 'feature maps', 'tensors': 'tensors of a detector'}
    if output['kind'] in kinds:
        raise UserError(f'{directory} is an export of {len(output["names"])} {kinds[output["kind"]]}, which are no classes; '
                        'wanted that of a classifier. Run it by Paddle Inference: image_classification.deploy.inference has '
                        '`run(create_predictor(directory), images)`.')


def _read_description(path):
    if not path.is_file():
        raise UserError(f'{path.parent} has no inference.yaml; wanted the directory of an export, as tools/export.py writes it')
    try:
        description = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f'{path} cannot be read as yaml: {" ".join(str(error).split())}') from None
    if not isinstance(description, dict):
        raise UserError(f'{path} holds a {type(description).__name__}; wanted what tools/export.py writes')
    return description


def _from_array(array):
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)) or not array.size:
        raise UserError(f'an array {array.shape} of {array.dtype} is no image; wanted uint8 (H, W), (H, W, 1), (H, W, 3) or '
                        '(H, W, 4)')
    return Image.fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array)


def _softmax(logits):
    logits = logits.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
