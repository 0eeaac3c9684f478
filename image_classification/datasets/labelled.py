"""The pictures of a part of a data set of class folders, each class a list: to learn, to evaluate, or of known classes."""
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from image_classification.datasets.classes import listed, places, same, unknown
from image_classification.datasets.folders import Walk, class_names, find_layout, has_pictures
from image_classification.errors import UserError
from image_classification.names.text import shown

_TO_EVALUATE = ('val', 'test')             # the preferred first


@dataclass
class Labelled:
    """Pictures by their classes."""
    part: Path                             # the folder that the class folders are in
    classes: list                          # names
    files: list                            # for each class, the sorted paths of its pictures, as from `part`
    notes: list                            # lines for the log

    @property
    def names(self):
        return [name for files in self.files for name in files]

    @property
    def labels(self):
        return np.repeat(np.arange(len(self.classes)), [len(files) for files in self.files])


def to_learn(root):
    """The training part: without pictures that the parts to evaluate have, too, and without those that are held back where
    there are none.

    Raises:
        UserError: no class folders, a class without pictures, other classes in a part to evaluate.
    """
    layout = find_layout(root)
    role, part = layout.first_of('train', '')
    if part is None:
        raise UserError(f'{shown(root)} has no folder train, but {next(iter(layout.parts.values())).name}; wanted both, or '
                        'class folders only, of which a fifth is then used for evaluation')
    walk, notes = Walk(layout.parts.values()), list(layout.notes)
    classes = class_names(part)
    places(classes)
    for other in set(layout.parts) - {role}:                       # these come first: what is in both is not learned
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
    """The part that a training is evaluated on, with the classes of the training part: val/, else test/, else what is held
    back."""
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
    """All pictures of known classes to evaluate a network with, and in `notes` what they are.

    Those of val/ or test/, else of train/ or of the folder itself: all of them or, without `whole`, the fifth that a training
    holds back. Folders are classes by their names, and some may be missing.
    Raises:
        UserError: folders that are none of the classes.
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
    """The pictures of the training part, to calibrate with: its folders may be any of the known classes."""
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
    """The sorted class names of a data set of class folders, of its training part where there is one; [] where `root` is
    nothing of the kind."""
    if not os.path.isdir(root):
        return []
    part = find_layout(root).first_of('train', *_TO_EVALUATE, '')[1]
    names = class_names(part, missing=[])
    return names if any(has_pictures(part / name) for name in names) else []


def _of_classes(layout, part, classes, whose='the network does not know',
                advice='Rename or remove them, or evaluate a network that knows them'):
    """The Labelled of the folders in a part, each put under the class of its name.

    Raises:
        UserError: folders of other names.
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
    """Paths below the folder `part` as from there."""
    begin = len(os.path.join(part, ''))
    return [[path[begin:] for path in paths] for paths in found]


def _held_back(files):
    """(a fixed fifth of the files of a class, the others)."""
    held = max(1, round(len(files) / 5)) if len(files) > 1 else 0
    # RandomState: numpy promises the same permutation in every version, so the split never changes.
    order = np.random.RandomState(0).permutation(len(files))
    return tuple([files[i] for i in sorted(part)] for part in (order[:held], order[held:]))
