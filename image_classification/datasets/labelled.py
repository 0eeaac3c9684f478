"""Lists the pictures of class folders by class: for training, for evaluation, or for a network's known classes."""
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from image_classification.datasets.classes import listed, places, same, unknown
from image_classification.datasets.folders import Walk, class_names, find_layout, has_pictures
from image_classification.errors import UserError
from image_classification.names.text import shown

_TO_EVALUATE = ('val', 'test')             # in order of preference


@dataclass
class Labelled:
    """Pictures by their classes."""
    part: Path                             # the folder with the class folders
    classes: list                          # names
    files: list                            # for each class, the sorted paths of its pictures, relative to `part`
    notes: list                            # lines for the log

    @property
    def names(self):
        return [name for files in self.files for name in files]

    @property
    def labels(self):
        return np.repeat(np.arange(len(self.classes)), [len(files) for files in self.files])


def to_learn(root):
    """The training part. Pictures that are also in val/ or test/ are left out. Without these parts, a fixed fifth is held back
    for evaluation.

    Raises:
        UserError: there are no class folders, two have the same name, or one has no pictures.
    """
    layout = find_layout(root)
    role, part = layout.first_of('train', '')
    if part is None:
        raise UserError(f'{shown(root)} has no folder train, but {next(iter(layout.parts.values())).name}; wanted both, or '
                        'class folders only, of which a fifth is then used for evaluation')
    walk, notes = Walk(layout.parts.values()), list(layout.notes)
    classes = class_names(part)
    places(classes)
    for other in set(layout.parts) - {role}:                       # first, so that pictures in both are left out of training
        walk.pictures(_class_places(layout.parts[other]))
    at = _class_places(part, classes)
    found = walk.pictures(at)
    walk.check(at, found)
    files = _as_from(part, found)
    if layout.first_of(*_TO_EVALUATE)[0] is None:
        files = [_held_back(names)[1] for names in files]
        if role:
            notes.append(f'{layout.named(role)} has no val/ or test/ beside it: a fixed fifth of it is held back for '
                         'evaluation')
    return Labelled(part, classes, files, [*notes, *walk.notes(layout.root, part)])


def to_evaluate(root):
    """The part for evaluation, with the classes of the training part: val/, else test/, else the pictures held back."""
    layout = find_layout(root)
    trained_role, trained = layout.first_of('train', '')
    role, part = layout.first_of(*_TO_EVALUATE)
    if part is None:
        role, part = trained_role, trained
    classes = class_names(trained or part)
    if trained and not class_names(part, missing=[]):
        raise UserError(f'{shown(part)} has no folders in it; wanted one per class, with its images. Without {part.name}/, a '
                        f'fifth of {trained.name}/ is evaluated')
    found = _of_classes(layout, part, classes, f'{shown(trained or part)} lacks', 'Rename or remove them')
    if part == trained:
        found.files = [_held_back(names)[0] for names in found.files]
    else:
        found.notes += _about_missing(found, layout.named(role))
    return found


def of_known(root, classes, whole=True):
    """Pictures to evaluate a network of known classes with; `notes` says which ones they are.

    They are those of val/ or test/, else those of train/ or of the folder itself. In the latter case, `whole` takes all of
    them; otherwise only the fifth that a training holds back. Folders are matched to classes by name, and some may be missing.
    Raises:
        UserError: a folder's name is not one of the classes.
    """
    layout = find_layout(root, classes)
    role, part = layout.first_of(*_TO_EVALUATE, 'train', '')
    found = _of_classes(layout, part, classes)
    alone = role in ('train', '')
    if alone and not whole:
        found.files = [_held_back(names)[0] for names in found.files]
    count = len(found.names)
    where = 'it' if role == '' else layout.named(role)
    what = f'the {count} pictures of {where}'
    if alone and not whole:
        what += ' that trainings hold back'
    elif role == '':
        what = f'all {count} pictures of it, as it has no parts (val/, test/)'
    found.notes = [f'{shown(root)}: {what}', *_about_missing(found, ''), *found.notes]
    return found


def learned_of_known(root, classes):
    """The pictures of the training part, for calibration. The folders must be known classes, but some may be missing."""
    layout = find_layout(root, classes)
    role, part = layout.first_of('train', '')
    if part is None:
        raise UserError(f'{shown(root)} has no training part to calibrate with; wanted train/ in it, or other pictures by '
                        '--calibrate')
    found = _of_classes(layout, part, classes)
    if layout.first_of(*_TO_EVALUATE)[0] is None:
        found.files = [_held_back(names)[1] for names in found.files]
    return found


def all_classes(root):
    """The sorted class names of a data set of class folders, from its training part if there is one; [] if `root` is no such
    data set."""
    if not os.path.isdir(root):
        return []
    part = find_layout(root).first_of('train', *_TO_EVALUATE, '')[1]
    names = class_names(part, missing=[])
    return names if any(has_pictures(part / name) for name in names) else []


def _of_classes(layout, part, classes, whose='the network does not know',
                advice='Rename or remove them, or evaluate a network that knows them'):
    """The Labelled of a part, with each folder assigned to the class of the same name.

    Raises:
        UserError: a folder with pictures has another name.
    """
    names = class_names(part)
    places(names)
    strangers = [name for name in unknown(names, classes) if has_pictures(part / name)]
    if strangers:
        raise UserError(f'{shown(part)} has the folders {listed(strangers, classes)}, which {whose}; its classes are '
                        f'{listed(classes)}. {advice}.')
    number, at = places(classes), {same(name): os.path.join(part, name) for name in names}
    walk = Walk(layout.parts.values())
    known = [name for name in at if name in number]
    files = [[] for _ in classes]
    for name, found in zip(known, _as_from(part, walk.pictures([at[name] for name in known]))):
        files[number[name]] = found
    return Labelled(part, list(classes), files, [*layout.notes, *walk.notes(layout.root, part)])


def _about_missing(found, where):
    missing = [name for name, files in zip(found.classes, found.files) if not files]
    return [f'no pictures of {listed(missing)}{f" in {where}" if where else ""}'] if missing else []


def _class_places(part, names=None):
    return [os.path.join(part, name) for name in (class_names(part, missing=[]) if names is None else names)]


def _as_from(part, found):
    """Make paths below the folder `part` relative to it."""
    begin = len(os.path.join(part, ''))
    return [[path[begin:] for path in paths] for paths in found]


def _held_back(files):
    """(a fixed fifth of the files of a class, the others)."""
    held = max(1, round(len(files) / 5)) if len(files) > 1 else 0
    # RandomState: numpy promises the same permutation in every version, so the split never changes.
    order = np.random.RandomState(0).permutation(len(files))
    return tuple([files[i] for i in sorted(part)] for part in (order[:held], order[held:]))
