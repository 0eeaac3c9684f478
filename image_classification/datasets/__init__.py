"""Data in: data sets, transforms, mixup and loaders.

`get_dataset` gives samples that are ready for the network, `get_dataloader` batches of them, `Mixup` mixes a batch, and
`Preprocess` is the evaluation transform on its own, for prediction and export.

The way of a training image, each step a call with what it needs:

    sampler      the indices of a batch, the copy of each image, the side in pixels
    base         ImageDataset.pixels(index, epoch, copy, size) makes one sample, by the next four steps
    files        open(index): the header of a file is read (images, opencv), or the image is there already (arrays)
    augment      box(whole size, generator): a random part
    images       part(box, size): that part is decoded, at a half, a quarter or an eighth where that is enough (or opencv)
    augment      transform(part, generator, size): resized, mirrored, a policy, 8-bit pixels; and the holes to erase
    loader       worker processes stack the samples of a batch; the loader normalizes and erases it
"""
from image_classification.config import check_values
from image_classification.datasets import arrays, files, opencv
from image_classification.datasets.loader import get_dataloader
from image_classification.datasets.mixup import Mixup
from image_classification.datasets.preprocess import Preprocess

__all__ = ['Mixup', 'Preprocess', 'get_dataloader', 'get_dataset']

DATASETS = {
    'imagenet2012': files.imagenet2012,
    'folder': files.folder,
    'mnist5k': arrays.mnist5k,
    'mnist': arrays.mnist,
    'fashion_mnist': arrays.mnist,
    'cifar10': arrays.cifar,
    'cifar100': arrays.cifar,
}


def get_dataset(cfg, is_train, channels=3):
    """The training or the evaluation part of DATA.DATASET as an `ImageDataset`.

    Args:
        channels: of the images that it gives: 1 (grey), 3 (RGB) or 4 (RGBA).
    Raises:
        UserError: a value out of its bounds, missing or damaged files, labels that MODEL.NUM_CLASSES has no room for.
    """
    check_values(cfg, 'DATA.', 'SEED')
    if cfg.DATA.BACKEND == 'opencv':
        opencv.package()
    return DATASETS[cfg.DATA.DATASET.lower()](cfg, is_train, channels)
