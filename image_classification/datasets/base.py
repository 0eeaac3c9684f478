"""The base class of the data sets: labels, classes, and samples that depend on seed, epoch and index only."""
import os
from pathlib import Path

import numpy as np
import paddle

from image_classification.datasets.augment import train_transform
from image_classification.datasets.images import Decoded
from image_classification.datasets.preprocess import Preprocess
from image_classification.datasets.transforms import erase, to_pixels
from image_classification.errors import UserError


class ImageDataset(paddle.io.Dataset):
    """dataset[index] -> (image (C, H, W) float32, normalized; label int64).

    With `is_train`, a random part of the image is transformed at random. The random numbers follow from (SEED, epoch, index,
    copy), so they are the same in every process. A subclass defines `image(index)` and `path(index)`. It overrides
    `open(index)` if it can read a part of an image faster than the whole.

    Args:
        source: the name of the data set in errors.
        labels: a number per image.
        classes: names, in the order of the labels.
    Raises:
        UserError: there are no images, or more labels or classes than MODEL.NUM_CLASSES.
    """

    backend = 'pillow'
    notes = ()                             # lines for the log about what was found

    def __init__(self, cfg, is_train, channels, source, labels, classes):
        super().__init__()
        self.labels = np.asarray(labels, np.int64)
        self.classes = list(classes)
        self.channels = channels
        self.preprocess = Preprocess.from_config(cfg, channels)
        self.transform = train_transform(cfg, self.preprocess) if is_train else None
        self.seed = cfg.SEED
        _check_labels(self.labels, len(self.classes), cfg.MODEL.NUM_CLASSES, source)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.sample(index)

    def sample(self, index, epoch=0, copy=0, size=None):
        """(image (C, H, W) float32, normalized; label int64).

        Args (for training only):
            epoch: the epoch.
            copy: which copy of the image in that epoch, from 0 on; each copy is transformed in its own way.
            size: side of the image in pixels; None: the configuration's.
        """
        pixels, holes, label = self.pixels(index, epoch, copy, size)
        image = self.preprocess.normalized(pixels[None])[0]
        erase(image, holes)
        return image, label

    def pixels(self, index, epoch=0, copy=0, size=None):
        """(image (H, W, C) uint8; holes for `erase`; label): the sample before it is normalized, with a quarter of the bytes.
        The loader's worker processes send these, and the loader normalizes whole batches."""
        index = range(len(self))[index]                            # -1 is the last one; IndexError ends a for loop
        if self.transform is None:
            return to_pixels(self.preprocess.crop(self.image(index))), [], self.labels[index]
        rng = np.random.default_rng([self.seed, epoch, index] + [copy] * (copy > 0))
        size = size or self.transform.size
        pixels, holes = self.transform(self._random_part(index, rng, size), rng, size)
        return pixels, holes, self.labels[index]

    def _random_part(self, index, rng, size):
        # A function of its own, so that the whole image is freed before the part is transformed.
        whole = self.open(index)
        return whole.part(self.transform.box(whole.size, rng), size)

    def open(self, index):
        """Open an image to read a part of it. Returns an object with `size`, (width, height), and `part(box, size)`.

        `part` gives the part in `box` as a PIL image, in any resolution that is enough for `size` x `size` pixels, or as
        (size, size, C) uint8.
        """
        return Decoded(self.image(index))

    def image(self, index):
        """PIL image with `channels` channels. Raises UserError if its file cannot be read."""

    def path(self, index):
        """The image's file, or words that identify the image if it has no file of its own."""


def data_path(cfg, wanted):
    """DATA.DATA_PATH as a Path. Raises UserError if it is empty or does not exist; `wanted` says what should be there."""
    path = cfg.DATA.DATA_PATH
    if not path:
        raise UserError(f'DATA.DATA_PATH is empty, which {cfg.DATA.DATASET} needs; set -data_path to where there is {wanted}')
    if not os.path.exists(path):
        raise UserError(f'DATA.DATA_PATH {path} does not exist; for {cfg.DATA.DATASET}, wanted {wanted}')
    return Path(path)


def _check_labels(labels, count, num_classes, source):
    if not len(labels):
        raise UserError(f'{source} holds no images; wanted at least one')
    if count > num_classes:
        raise UserError(f'{source} has {count} classes, MODEL.NUM_CLASSES is {num_classes}; set -num_classes {count}')
    least, most = int(labels.min()), int(labels.max())
    if least < 0:
        raise UserError(f'{source} has the label {least}; wanted 0 to {num_classes - 1}: labels count from 0')
    if most >= num_classes:
        raise UserError(f'{source} has the label {most}; wanted 0 to {num_classes - 1}, as MODEL.NUM_CLASSES is '
                        f'{num_classes}; set -num_classes {most + 1}'
                        f'{", or subtract 1 from each where they count from 1" if least == 1 else ""}')
    if most >= count:
        raise UserError(f'{source} has the label {most}, but there are only {count} class names; wanted one for every label')
