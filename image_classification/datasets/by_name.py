"""The data set of a configuration, by its name."""
from image_classification.config import check_values
from image_classification.datasets import arrays, files, opencv

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
