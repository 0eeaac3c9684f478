"""Class probabilities of pictures, by a checkpoint or an export."""
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from PIL import Image

from image_classification.config import check
from image_classification.config.bounds import whole
from image_classification.config.options import BATCH, THREADS
from image_classification.datasets.imagenet_names import names_to_show
from image_classification.datasets.images import as_image
from image_classification.deploy.classifier import ENGINES, Classifier
from image_classification.errors import UserError

_CLASSES, _WORKERS = whole(1, 1_000_000), whole(0, 1024)


class Predictor:
    """A classifier with its preprocessing and class names, from a checkpoint or an export.

    Attributes: `preprocess`, `class_names`, `name`, `engine`, and `network`, which is None for an export.

    Several threads may share a predictor. ONNX Runtime, OpenVINO and Paddle Inference serve them in parallel; a checkpoint
    serves one thread at a time.

    Args:
        path: a checkpoint (.safetensors), an export directory, or the inference.yaml or inference.onnx in one.
        engine: 'paddle' runs a checkpoint, on Paddle's current device; 'paddle_inference', 'onnxruntime' and 'openvino' run an
            export, on the CPU. 'auto' chooses by the path and, for an export, takes the fastest engine that is installed and
            has its files there.
        batch_size: number of images in one forward pass.
        threads: CPU threads that an export uses for one batch; by default the engine decides.
        bf16: let OpenVINO or Paddle Inference compute in bfloat16.
        warm_up: run the network once now, so that the first images are not slow.
    Raises:
        UserError: the path is neither a checkpoint nor an export, a file is damaged, the engine does not fit, or the export is
            not of a classifier.
    """

    def __init__(self, path, engine='auto', batch_size=32, threads=None, bf16=False, warm_up=False):
        _check(engine, batch_size, threads)
        classifier = path if isinstance(path, Classifier) else Classifier.open(path, engine, threads, bf16)
        self._engine, self._classes = classifier.engine, classifier.classes
        self.name, self.preprocess = self._classes.name, self._classes.preprocess
        self.class_names = names_to_show(self._classes.class_names, self._classes.num_classes)
        self.engine, self.network, self.batch_size = self._engine.name, self._engine.network, batch_size
        if warm_up:
            self.warm_up()

    @classmethod
    def of_network(cls, network, class_names=(), batch_size=32):
        """A predictor for a network from `create_model`. The network is put into evaluation mode."""
        return cls(Classifier.of_network(network, class_names), batch_size=batch_size)

    def predict(self, images):
        """Probabilities of every class, (N, num_classes) float32.

        Args:
            images: an iterable of PIL images, paths, bytes of image files, or uint8 arrays (H, W), (H, W, 1), (H, W, 3) or
                (H, W, 4). A single image counts as a list of one. Arrays are RGB: cv2.imread returns BGR, so pass
                `image[..., ::-1]`. All but arrays are rotated according to their EXIF orientation.
        Raises:
            UserError: an image cannot be read, or an element is not an image.
        """
        one = (str, bytes, bytearray, os.PathLike, Image.Image)
        if isinstance(images, one) or isinstance(images, np.ndarray) and images.ndim < 4:
            images = [images]                                      # iterating over it would give letters or rows
        images = iter(images)
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        while batch := [self.prepare(image) for image in islice(images, self.batch_size)]:
            parts.append(self.probabilities(np.stack(batch)))
        return np.concatenate(parts)

    def predict_files(self, paths, prepare=None, workers=0):
        """Yield (path, result) for each path. The result is an array of probabilities (num_classes,), or a UserError if the
        file cannot be read. Only about a batch is held in memory.

        Args:
            paths: an iterable of paths, or of anything else that `prepare` takes.
            prepare: turns one of them into an input of the network, or raises UserError; by default `self.prepare`.
            workers: threads that prepare the next batch while the network computes. `paths` is then read that far ahead.
        """
        check('the number of workers', workers, _WORKERS)
        prepared = self._prepare_all(paths, prepare or self.prepare, workers)
        while batch := list(islice(prepared, self.batch_size)):
            good = [index for index, (_, result) in enumerate(batch) if not isinstance(result, UserError)]
            if good:
                for index, probabilities in zip(good, self.probabilities(np.stack([batch[index][1] for index in good]))):
                    batch[index] = (batch[index][0], probabilities)
            yield from batch

    def _prepare_all(self, paths, prepare, workers):
        """Yield (path, the prepared input or a UserError), in the order of the paths."""
        def attempt(path):
            try:
                return path, prepare(path)
            except UserError as error:
                return path, error

        if not workers:
            yield from map(attempt, paths)
            return
        waiting, pool = deque(), ThreadPoolExecutor(workers, 'prepare')
        try:
            for path in paths:
                waiting.append(pool.submit(attempt, path))
                if len(waiting) > self.batch_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:                                                   # also if the caller stops iterating early
            pool.shutdown(cancel_futures=True)

    def top_k(self, probabilities, k):
        """The k most probable classes of one image, best first: [(class name, probability)]."""
        check('k', k, _CLASSES)
        best = np.argsort(-probabilities, kind='stable')[:k]
        return [(self.class_names[index], float(probabilities[index])) for index in best]

    def prepare(self, image):
        """Turn one image of any kind into an input of the network: (C, H, W) float32, prepared as in evaluation. For an export
        that normalizes by itself it is (H, W, C) uint8."""
        image = as_image(image, self.preprocess.channels)
        if self._takes_pixels():
            return np.asarray(self.preprocess.crop(image)).reshape(self._one_input_shape())
        return self.preprocess(image)

    def probabilities(self, inputs):
        """Probabilities (B, num_classes) float32 for a batch (B, ...) of inputs from `prepare`.

        Raises:
            UserError: a probability is NaN.
        """
        output = self._engine.run(inputs)[0]
        found = _softmax(output / np.float32(self._classes.temperature)) if self._classes.gives_logits else output
        self._check_finite(found)
        return found

    def _check_finite(self, outputs):
        good = int(np.isfinite(outputs).all(axis=1).sum())
        if good < len(outputs):
            raise UserError(f'{self.name} ({self.engine}) gives NaN or infinite numbers for {len(outputs) - good} of '
                            f'{len(outputs)} pictures: its weights are spoilt. Take another checkpoint or other weights, and '
                            'export again')

    def warm_up(self, batch_sizes=(1,)):
        """Run the network at these batch sizes, so that the first images do not wait for the engine's own preparation."""
        for size in batch_sizes:
            self._check_finite(self._engine.run(np.zeros((size, *self._one_input_shape()), self._engine.input['dtype']))[0])

    def _one_input_shape(self):
        size, channels = self.preprocess.image_size, self.preprocess.channels
        return (size, size, channels) if self._takes_pixels() else (channels, size, size)

    def _takes_pixels(self):
        """Whether the export takes uint8 pixels and normalizes them by itself."""
        return self._engine.input['layout'] == 'NHWC'


def _check(engine, batch_size, threads):
    if engine not in ENGINES:
        raise UserError(f'the engine is {engine!r}; wanted one of {", ".join(ENGINES)}')
    check('the batch size', batch_size, BATCH)
    check('the number of threads', 1 if threads is None else threads, THREADS)


def _softmax(logits):
    logits = logits.astype(np.float64)
    with np.errstate(invalid='ignore'):                            # `_check_finite` reports infinite logits
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
