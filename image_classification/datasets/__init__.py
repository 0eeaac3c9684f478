"""Data sets, transforms, mixup and loaders.

`get_dataset` returns a data set of samples that are ready for the network, `get_dataloader` batches of them. `Mixup` mixes a
batch. `Preprocess` is the evaluation transform on its own, for prediction and export.

A training image takes these steps, each a function call:

    sampler      chooses the indices of a batch, the copy of each image, and the side in pixels
    base         ImageDataset.pixels(index, epoch, copy, size) makes one sample, in the next four steps
    files        open(index) reads the header of a file (images, opencv); for arrays, the image is in memory already
    augment      box(whole size, generator) draws a random part
    images       part(box, size) decodes that part, at a half, a quarter or an eighth if that is enough (or opencv does)
    augment      transform(part, generator, size) resizes, mirrors, applies a policy; gives 8-bit pixels and holes to erase
    loader       worker processes stack the samples of a batch; the loader normalizes the batch and erases the holes

All commands find pictures in the same way. `kinds` knows the endings of files. `folders` says which files of a folder count,
and finds the parts of a data set. `labelled` lists the pictures of a part by class. `lists` reads lists of pictures, `pictures`
finds those that a command line names. `classes` compares classes by name.

The names below are imported when they are first used: training data need Paddle, which may be missing where an export runs.
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
