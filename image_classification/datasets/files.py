"""Data sets of image files: ImageNet with PaddleViT's lists, and class folders."""
import os

import numpy as np

from image_classification.datasets import images, labelled, opencv
from image_classification.datasets.base import ImageDataset, data_path
from image_classification.datasets.classes import listed
from image_classification.datasets.lists import lines_of, read_list
from image_classification.errors import UserError
from image_classification.names.text import shown


class FileDataset(ImageDataset):
    """Images in files, which are read when a sample is requested."""

    def __init__(self, cfg, is_train, channels, source, root, names, labels, classes, notes=()):
        super().__init__(cfg, is_train, channels, source, labels, classes)
        self.notes = list(notes)
        self.root = os.fspath(root)
        # An array, not a list: reading an item of a list of 1.3 million str writes its reference count, so in time every
        # worker process would hold its own copy of the list.
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
    """DATA_PATH/train_list.txt or val_list.txt, in PaddleViT's format: lines of `relative/path label`.

    Class names are the lines of DATA_PATH/classes.txt if that file exists, otherwise the numbers of the labels. Pictures in
    both lists are left out of training.
    Raises:
        UserError: a list is missing, a line has no label (the message gives its number), or a label is outside
            MODEL.NUM_CLASSES.
    """
    root = data_path(cfg, 'train_list.txt and val_list.txt, whose lines are "path/of/image label"')
    file = root / ('train_list.txt' if is_train else 'val_list.txt')
    if not file.is_file():
        raise UserError(f'{file} does not exist; wanted lines of "path/of/image label", paths relative to {root}. For class '
                        f'folders without lists use -dataset folder')
    names, labels = read_list(file)
    notes = []
    if not is_train:
        names, labels, notes = _each_once(names, labels, file)
    elif (root / 'val_list.txt').is_file():
        names, labels, notes = _without_evaluated(names, labels, root)
    classes = [str(i) for i in range(cfg.MODEL.NUM_CLASSES)]
    if (root / 'classes.txt').is_file():
        classes = [line.strip() for line in lines_of(root / 'classes.txt', 'the name of a class on each line') if line.strip()]
    if labels and set(labels) == set(range(1, len(classes) + 1)):
        count = len(classes)
        raise UserError(f'{file} has the labels 1 to {count} for {count} classes; wanted 0 to {count - 1}: labels count from '
                        '0, so subtract 1 from each')
    data = FileDataset(cfg, is_train, channels, str(file), root, names, labels, classes, notes)
    missing = [name for name, has in zip(classes, np.bincount(data.labels, minlength=len(classes))) if not has]
    if missing and is_train:
        advice = '; labels count from 0' if labels and min(labels) == 1 else ''
        data.notes.append(f'warning: {file} has no pictures of {listed(missing)}{advice}')
    return data


def _each_once(names, labels, file):
    """(names, labels, log lines) of a list for evaluation, without repeated pictures."""
    first = {}
    for i, name in enumerate(names):
        first.setdefault(os.path.normpath(name), i)
    kept = list(first.values())
    left = len(names) - len(kept)
    notes = [f'warning: {left} of the {len(names)} lines of {file} name a picture again, and are left out'] if left else []
    return [names[i] for i in kept], [labels[i] for i in kept], notes


def _without_evaluated(names, labels, root):
    """(names, labels, log lines) of a training list, without the pictures that are also in val_list.txt."""
    evaluated = {os.path.normpath(name) for name in read_list(root / 'val_list.txt')[0]}
    kept = [i for i, name in enumerate(names) if os.path.normpath(name) not in evaluated]
    if len(kept) == len(names):
        return names, labels, []
    example = next(name for name in names if os.path.normpath(name) in evaluated)
    if not kept:
        raise UserError(f'{root / "train_list.txt"} has only pictures that are also in val_list.txt, e.g. {shown(example)}; '
                        'wanted others for training')
    left = len(names) - len(kept)
    are = 'training picture is' if left == 1 else 'training pictures are'
    return [names[i] for i in kept], [labels[i] for i in kept], [
        f'warning: {left} {are} also evaluated and so left out: {shown(example)} is in val_list.txt'
        f'{", ..." if left > 1 else ""}']


def folder(cfg, is_train, channels):
    """DATA_PATH/train/<class>/... and DATA_PATH/val/<class>/..., or only DATA_PATH/<class>/...

    `folders.py` has the other names of the parts, and says which files count. Without a part for evaluation, a fixed fifth of
    each class, which does not depend on SEED, is held back. Images may lie at any depth below a class. Class names are the
    sorted names of the folders. The folders of val are matched by name, and some may be missing.
    Raises:
        UserError: there are no class folders, a class has no images, val has classes that train lacks, or the number of classes
            is not MODEL.NUM_CLASSES.
    """
    root = data_path(cfg, 'train/<class>/<images> and val/<class>/<images>, or <class>/<images>')
    found = (labelled.to_learn if is_train else labelled.to_evaluate)(root)
    count = len(found.classes)
    if count != cfg.MODEL.NUM_CLASSES:
        raise UserError(f'{shown(root)} has {count} classes, MODEL.NUM_CLASSES is {cfg.MODEL.NUM_CLASSES}; set -num_classes '
                        f'{count}')
    return _dataset(cfg, is_train, channels, found)


def labelled_folder(cfg, channels, classes, whole=True):
    """(data set of labelled pictures to evaluate a network with these `classes`, lines that describe it): see
    `labelled.of_known`."""
    root = data_path(cfg, '<class>/<images>, or val/<class>/<images>')
    found = labelled.of_known(root, classes, whole)
    return _dataset(cfg, False, channels, found), found.notes


def learned_folder(cfg, channels, classes):
    """The data set of pictures to calibrate a network with these `classes`: see `labelled.learned_of_known`."""
    return _dataset(cfg, False, channels, labelled.learned_of_known(data_path(cfg, 'train/<class>/<images>'), classes))


def _dataset(cfg, is_train, channels, found):
    return FileDataset(cfg, is_train, channels, str(found.part), found.part, found.names, found.labels, found.classes,
                       found.notes)
