import shutil

import numpy as np
import pytest

from image_classification.errors import UserError
from image_classification.fit.split import split
from image_classification.fit.survey import survey


def test_each_class_is_in_each_part_and_the_split_never_changes(folder):
    root = folder({'red': 40, 'green': 10, 'blue': 3})
    found = survey(root)
    parts = split(found)
    assert found.counts(parts[2]).tolist() == [1, 2, 8]
    assert all(found.counts(part).min() >= 1 for part in parts) and sum(map(len, parts)) == 53
    again = split(survey(root))
    assert [[picture.path for picture in part] for part in parts] == [[picture.path for picture in part] for part in again]


def test_copies_stay_on_one_side(folder):
    root = folder({'red': 12, 'green': 12})
    for i in range(12):
        shutil.copy(root / 'red' / f'picture {i}.png', root / 'red' / f'copy {i}.png')
    for part in split(survey(root)):
        names = {picture.path.name for picture in part if picture.label == 1}
        assert {name.replace('copy', 'picture') for name in names} == {name for name in names if name.startswith('picture')}


@pytest.mark.parametrize('counts', [{'red': 1, 'green': 9}, {'red': 1, 'green': 1}, {'red': 2, 'green': 9}])
def test_a_class_of_one_or_two_is_named(folder, counts):
    with pytest.raises(UserError, match="has (one|two) different picture.* wanted at least three"):
        split(survey(folder(counts)))


def test_300_classes_of_three_are_split(folder):
    training, validation, test = split(survey(folder({f'class {i:03}': 3 for i in range(300)})))
    for part in (training, validation, test):
        assert np.array_equal(np.sort([picture.label for picture in part]), np.arange(300))
