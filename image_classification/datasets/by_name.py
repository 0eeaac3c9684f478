"""Makes the data set that a configuration names."""
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
        channels: channels of its images: 1 (grey), 3 (RGB) or 4 (RGBA).
    Raises:
        UserError: a value is out of its bounds, files are missing or damaged, or labels do not fit MODEL.NUM_CLASSES.
    """
    check_values(cfg, 'DATA.', 'SEED')
    if cfg.DATA.BACKEND == 'opencv':
        opencv.package()
    return DATASETS[cfg.DATA.DATASET.lower()](cfg, is_train, channels)
