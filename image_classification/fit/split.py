"""Split pictures into those to train on, those to decide between settings, and those for the final test."""
from collections import defaultdict

import numpy as np

from image_classification.errors import UserError
from image_classification.files import write_atomically

VALIDATION, TESTED = 0.15, 0.2                                     # shares of each class
_MOST = 2_000                                                      # most pictures per class for validation, or for the test


def split(survey):
    """(training, validation, test): lists of the survey's pictures, always the same for the same folder.

    Folders named train, val and test keep their roles. Without test pictures, a fixed fifth of each class becomes the test.
    Without validation pictures, about a seventh of the rest does. Duplicates stay on one side of the split; duplicates of test
    pictures are left out.
    Raises:
        UserError: a class has too few pictures.
    """
    pictures = survey.pictures
    _check_classes(survey)
    test = [picture for picture in pictures if picture.part == 'test']
    validation = [picture for picture in pictures if picture.part == 'val']
    rest = [picture for picture in pictures if picture.part in ('', 'train')]
    if not test:
        rest, test = _draw(rest, TESTED)
    tested = {picture.group for picture in test}
    rest = [picture for picture in rest if picture.group not in tested]
    validation = [picture for picture in validation if picture.group not in tested]
    if not validation:
        rest, validation = _draw(rest, VALIDATION)
    decided = {picture.group for picture in validation}
    training = [picture for picture in rest if picture.group not in decided]
    lost = survey.counts(training) == 0
    if lost.any():
        raise UserError(f'all pictures of the class {survey.classes[int(lost.argmax())]!r} are in the test, too; wanted others '
                        'to learn')
    return training, validation, test


def _draw(pictures, share):
    """(the rest, about this share of each class), drawn in whole groups and always the same."""
    drawn = set()
    for label in sorted({picture.label for picture in pictures}):
        groups = defaultdict(list)
        for picture in pictures:
            if picture.label == label:
                groups[picture.group].append(picture)
        names, count = list(groups), sum(map(len, groups.values()))
        wanted, taken = min(max(1, round(count * share)), _MOST) if len(names) > 1 else 0, 0
        # RandomState: numpy guarantees the same permutation in every version.
        for i in np.random.RandomState(0).permutation(len(names)):
            if taken >= wanted:
                break
            drawn.add(names[i])
            taken += len(groups[names[i]])
    return ([picture for picture in pictures if picture.group not in drawn],
            [picture for picture in pictures if picture.group in drawn])


def _check_classes(survey):
    """Raise UserError for a class with too few pictures to be in every part."""
    parts = {picture.part for picture in survey.pictures}
    wanted = 3 - ('test' in parts) - ('val' in parts)
    for label, name in enumerate(survey.classes):
        groups = {picture.group for picture in survey.pictures if picture.label == label and picture.part in ('', 'train')}
        if len(groups) < wanted:
            number = ('no', 'one', 'two', 'three')
            raise UserError(f'the class {name!r} has {number[len(groups)]} different picture{"s" if len(groups) != 1 else ""} to learn; '
                            f'wanted at least {number[wanted]} in every class: one each to learn{", to decide" if wanted > 1 else ""}'
                            f'{" and to test" if wanted > 2 else ""}')


def write_lists(directory, classes, training, validation, test):
    """Write train_list.txt, val_list.txt and classes.txt, as the data set imagenet2012 reads them, and test_list.txt."""
    directory.mkdir(parents=True)
    for name, part in (('train', training), ('val', validation), ('test', test)):
        write_list(directory, name, part)
    (directory / 'classes.txt').write_text(''.join(f'{name}\n' for name in classes), encoding='utf-8', errors='surrogateescape')


def listed(classes):
    """Class names as they will be read from classes.txt: without surrounding spaces."""
    return [name.strip() for name in classes]


def write_list(directory, name, pictures):
    """Write <name>_list.txt, replacing an existing one."""
    text = ''.join(f'{picture.path.resolve()} {picture.label}\n' for picture in pictures)
    write_atomically(directory / f'{name}_list.txt', lambda file: file.write_text(text, encoding='utf-8', errors='surrogateescape'))
