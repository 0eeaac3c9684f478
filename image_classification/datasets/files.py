"""Data sets of image files: ImageNet by PaddleViT's lists, and folders of one class each."""
import os
from pathlib import Path

import numpy as np

from image_classification.datasets import images, opencv
from image_classification.datasets.base import ImageDataset, data_path
from image_classification.errors import UserError

IMAGE_ENDINGS = ('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.gif', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.pbm')
VAL_NAMES = ('val', 'valid', 'validation', 'test')


class FileDataset(ImageDataset):
    """Images in files, read when they are asked for."""

    def __init__(self, cfg, is_train, channels, source, root, names, labels, classes):
        super().__init__(cfg, is_train, channels, source, labels, classes)
        self.root = os.fspath(root)
        # One block of bytes: reading an item of a list of 1.3 million str writes its reference count, by which every
        # worker process would come to hold a copy of the list.
        self.names = np.array([os.fsencode(name) for name in names])
        self.backend = cfg.DATA.BACKEND
        self.fast_decode = cfg.DATA.FAST_DECODE

    def open(self, index):
        if self.backend == 'opencv':
            return opencv.open_to_crop(self.path(index), self.channels, self.preprocess.interpolation)
        if self.fast_decode:
            return images.open_to_crop(self.path(index), self.channels)
        return super().open(index)

    def image(self, index):
        return images.open_image(self.path(index), self.channels)

    def path(self, index):
        return os.path.join(self.root, os.fsdecode(self.names[index]))


def imagenet2012(cfg, is_train, channels):
    """DATA_PATH/train_list.txt or val_list.txt, PaddleViT's format: lines of `relative/path label`.

    Class names are the lines of DATA_PATH/classes.txt where that file is there, otherwise the numbers of the labels.
    Raises:
        UserError: a missing list; a line without a label (with its number); labels outside MODEL.NUM_CLASSES.
    """
    root = data_path(cfg, 'train_list.txt and val_list.txt, whose lines are "path/of/image label"')
    file = root / ('train_list.txt' if is_train else 'val_list.txt')
    if not file.is_file():
        raise UserError(f'{file} does not exist; wanted lines of "path/of/image label", paths relative to {root}. For class '
                        f'folders without lists use -dataset folder')
    names, labels = [], []
    for number, line in enumerate(_lines(file), 1):
        parts = line.rsplit(maxsplit=1)
        if not parts:
            continue
        try:
            name, label = parts[0], int(parts[1])
        except (IndexError, ValueError):
            raise UserError(f'{file}, line {number}: {line.strip()!r}; wanted "path/of/image label", the label a whole '
                            f'number') from None
        names.append(name)
        labels.append(label)
    classes = [str(i) for i in range(cfg.MODEL.NUM_CLASSES)]
    if (root / 'classes.txt').is_file():
        classes = [line.strip() for line in _lines(root / 'classes.txt') if line.strip()]
    return FileDataset(cfg, is_train, channels, str(file), root, names, labels, classes)


def folder(cfg, is_train, channels):
    """DATA_PATH/train/<class>/... and DATA_PATH/val/<class>/..., or DATA_PATH/<class>/... alone.

    `test`, `valid` and `validation` are read as `val`. Without any of these folders, a fixed fifth of each class (drawn
    once and for all, whatever SEED is) is held back for evaluation. Images may lie at any depth below a class; hidden
    files and other endings are ignored. Class names are the sorted names of the folders.
    Raises:
        UserError: no class folders; a class without images; other classes in val than in train; another number of
            classes than MODEL.NUM_CLASSES.
    """
    root = data_path(cfg, 'train/<class>/<images> and val/<class>/<images>, or <class>/<images>')
    train = root / 'train'
    val = next((root / name for name in VAL_NAMES if (root / name).is_dir()), root / 'val')
    if not train.is_dir() and not val.is_dir():
        return _split_folder(cfg, is_train, channels, root)
    used = train if is_train else val
    if not used.is_dir():
        names = ['train'] if is_train else VAL_NAMES
        raise UserError(f'{root} has no folder {" or ".join(names)}, but {(val if is_train else train).name}; wanted both, '
                        f'or class folders only, of which a fifth is then used for evaluation')
    classes = _class_names(used)
    if train.is_dir() and val.is_dir() and _class_names(train) != _class_names(val):
        ours, theirs = set(_class_names(train)), set(_class_names(val))
        raise UserError(f'{val} does not have the classes of {train}: missing {sorted(ours - theirs)[:5]}, not in train '
                        f'{sorted(theirs - ours)[:5]}; wanted the same folders in both')
    files = [_image_files(used, name) for name in classes]
    return _of_classes(cfg, is_train, channels, used, classes, files)


def class_folders(path):
    """The sorted class names of what `folder` reads, of train/ where it is there; [] where `path` is nothing of the kind."""
    root = Path(path)
    part = next((root / name for name in ('train', *VAL_NAMES) if (root / name).is_dir()), root)
    names = _class_names(part, missing=[]) if part.is_dir() else []
    return names if any(_image_files(part, name, missing=[]) for name in names) else []


def labelled_folder(cfg, channels, classes, whole=True):
    """(data set of labelled pictures to evaluate a network of these `classes`, lines that say what it is).

    DATA_PATH/val/<class>/... (or `test`, `valid`, `validation`, else `train`), or DATA_PATH/<class>/...: all of it or, without
    `whole`, the fifth that a training holds back. Folders are classes by their names, and some may be missing.
    Raises:
        UserError: folders that are none of the classes; no pictures at all.
    """
    root = data_path(cfg, '<class>/<images>, or val/<class>/<images>')
    part = next((root / name for name in (*VAL_NAMES, 'train') if (root / name).is_dir()), root)
    names = _class_names(part)
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise UserError(f'{part} has the folders {_some(unknown)}, which the network does not know; its classes are '
                        f'{_some(classes)}. Rename or remove them, or evaluate a network that knows them.')
    files = {name: _image_files(part, name, missing=[]) for name in names}
    if part == root and not whole:
        files = {name: found and _held_back(found)[0] for name, found in files.items()}
    missing = [name for name in classes if not files.get(name)]
    all_files = [files.get(name, []) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [len(found) for found in all_files])
    data = FileDataset(cfg, False, channels, str(part), part, [name for found in all_files for name in found], labels, classes)
    what = {True: f'all {len(data)} pictures of it, as it has no parts (val/, test/)',
            False: f'the {len(data)} pictures of it that trainings hold back'}[whole] if part == root else \
        f'the {len(data)} pictures of {part.name}/'
    return data, [f'{root}: {what}', *([f'no pictures of {_some(missing)}'] if missing else [])]


def _some(names):
    """At most ten names, for a message."""
    return ', '.join(names[:10]) + (f', ... ({len(names)} in all)' if len(names) > 10 else '')


def _lines(file):
    try:
        with open(file, encoding='utf-8-sig', errors='surrogateescape') as lines:   # file names may be of any encoding
            return lines.readlines()
    except OSError as error:
        raise UserError(f'{file} cannot be read: {error.strerror}') from None


def _split_folder(cfg, is_train, channels, root):
    """The train or the evaluation part of class folders that stand alone."""
    classes = _class_names(root)
    parts = []
    for name in classes:
        held, others = _held_back(_image_files(root, name))
        parts.append(others if is_train else held)
    return _of_classes(cfg, is_train, channels, root, classes, parts)


def _held_back(files):
    """(a fixed fifth of the files of a class, the others)."""
    held = max(1, round(len(files) / 5)) if len(files) > 1 else 0
    # RandomState: numpy promises the same permutation in every version, so the split never changes.
    order = np.random.RandomState(0).permutation(len(files))
    return tuple([files[i] for i in sorted(part)] for part in (order[:held], order[held:]))


def _of_classes(cfg, is_train, channels, root, classes, files):
    """The data set of one list of files per class."""
    if len(classes) != cfg.MODEL.NUM_CLASSES:
        raise UserError(f'{root} has {len(classes)} classes, MODEL.NUM_CLASSES is {cfg.MODEL.NUM_CLASSES}; '
                        f'set -num_classes {len(classes)}')
    labels = np.repeat(np.arange(len(classes)), [len(names) for names in files])
    return FileDataset(cfg, is_train, channels, str(root), root, [name for names in files for name in names], labels, classes)


def _class_names(root, missing=None):
    """Sorted names of the folders in `root`; where there are none, `missing` or else an error."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith('.'))
    except OSError as error:
        raise UserError(f'{root} cannot be read as a folder of classes: {error.strerror}') from None
    if not names and missing is not None:
        return list(missing)
    if not names:
        raise UserError(f'{root} has no folders in it; wanted one per class, with its images')
    return names


def _image_files(root, name, missing=None):
    """Paths relative to `root` of the images below root/name, sorted, so that their order is the same everywhere; where there
    are none, `missing` or else an error."""
    found = []
    for directory, folders, files in os.walk(root / name, followlinks=True):
        folders[:] = [item for item in folders if not item.startswith('.')]
        found += [os.path.relpath(os.path.join(directory, file), root) for file in files
                  if not file.startswith('.') and file.lower().endswith(IMAGE_ENDINGS)]
    if not found and missing is not None:
        return list(missing)
    if not found:
        raise UserError(f'{root / name} has no images ({", ".join(IMAGE_ENDINGS)}); wanted at least one in every class folder')
    return sorted(found)
