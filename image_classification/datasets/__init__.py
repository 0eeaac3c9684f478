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

Which pictures there are, the same for every command: `kinds` knows endings, `folders` what counts in a folder and where its
parts are, `labelled` the pictures of a part by their classes, `lists` those of a list, `pictures` those that a command line names.
`classes` compares classes by name.

Each name below comes when it is first used: who runs an export has no Paddle, which training data need.
"""
import importlib

_MODULES = {'Mixup': 'mixup', 'Preprocess': 'preprocess', 'get_dataloader': 'loader', 'get_dataset': 'by_name',
            'DATASETS': 'by_name'}
__all__ = ['Mixup', 'Preprocess', 'get_dataloader', 'get_dataset']


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(f'{__name__}.{_MODULES[name]}'), name)
    globals()[name] = value
    return value
