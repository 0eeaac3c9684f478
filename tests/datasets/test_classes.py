"""Classes are compared by their names."""
import re
from types import SimpleNamespace

import numpy as np
import pytest

from image_classification.datasets.classes import are_known, difference, listed, match_classes, order, places, unknown
from image_classification.datasets.imagenet_names import imagenet_classes
from image_classification.errors import UserError

COMPOSED, SPREAD = 'caf\u00e9', 'cafe\u0301'                        # the same letters, as Linux and as a Mac write them
IDS, NAMES = list(imagenet_classes()), list(imagenet_classes().values())


@pytest.mark.parametrize('wanted, given, expected', [
    (['a', 'b'], ['a', 'b'], [0, 1]), (['a', 'b', 'c'], ['c', 'a', 'b'], [1, 2, 0]), ([COMPOSED], [SPREAD], [0]),
    (['a'], ['b'], None), (['a'], ['a', 'b'], None), (['a', 'a'], ['a', 'a'], [0, 1]), (['a', 'a', 'b'], ['a', 'b', 'a'], None),
    ([], [], [])])
def test_the_order_of_classes_among_others_is_found_by_name(wanted, given, expected):
    assert order(wanted, given) == expected


def test_imagenets_ids_numbers_and_names_are_the_same_classes():
    numbers = [str(i) for i in range(1000)]
    assert order(IDS, NAMES) == order(numbers, IDS) == order(NAMES, numbers) == list(range(1000))


@pytest.mark.parametrize('names, known', [([], False), (['0', '1'], False), (['0', '2'], True), (['cat'], True),
                                          ([0, 1], False)])
def test_numbers_are_no_names(names, known):
    assert are_known(names) == known


@pytest.mark.parametrize('ours, theirs, words', [
    (['a', 'b'], ['a', 'b'], ''), ([COMPOSED], [SPREAD], ''),
    (['a', 'b'], ['b', 'a'], 'another order: number 0 is a in X, b in Y'),
    (['red', 'dog'], ['red', 'cat'], 'only in X: dog; only in Y: cat'), (['red'], ['red', 'elephant'], 'only in Y: elephant'),
    (['cat'], ['Cat'], 'only in X: cat (like Cat?)'), (['kitten'], ['k\u0456tten'], r"(like 'k\u0456tten'?)")])
def test_a_difference_names_the_classes_and_shows_what_looks_alike(ours, theirs, words):
    found = difference(ours, theirs, 'X', 'Y')
    assert words in found and bool(words) == bool(found)


def test_two_names_that_differ_in_composition_alone_are_refused_with_escapes():
    with pytest.raises(UserError, match=re.escape(r"(Unicode): 'caf\xe9' and 'cafe\u0301'; wanted a name of its own")):
        places(['a', COMPOSED, SPREAD])
    with pytest.raises(UserError, match="two classes are called a: 'a' and 'a'"):
        places(['a', 'b', 'a'])
    assert unknown([SPREAD, 'x'], [COMPOSED]) == ['x']


def test_a_name_is_the_same_in_every_locale():
    in_ascii = '猫'.encode().decode('ascii', 'surrogateescape')
    assert order(['猫', '\udcd6\udcd0', '\ud800'], [in_ascii, '\udcd6\udcd0', '\ud800']) == [0, 1, 2]


def test_a_long_list_is_cut():
    assert listed([str(i) for i in range(30)]).endswith('8, 9, ... (30 in all)') and listed(['a', 'b']) == 'a, b'


def test_labels_of_data_get_the_numbers_of_the_network():
    data = SimpleNamespace(classes=['dog', 'cat'], labels=np.array([0, 1, 1]))
    assert 'matched by name' in match_classes(data, ['bird', 'cat', 'dog'], 'w')[0]
    assert data.labels.tolist() == [2, 1, 1] and data.classes == ['bird', 'cat', 'dog']
    assert match_classes(data, ['bird', 'cat', 'dog'], 'w') == []
    with pytest.raises(UserError, match='w knows other classes than the data set has: only in the data set: bird'):
        match_classes(data, ['cat', 'dog'], 'w')
    assert 'the class names of the network are not known' in match_classes(data, [], 'w')[0] and data.labels.tolist() == [2, 1, 1]
    assert match_classes(SimpleNamespace(classes=IDS), [], 'published weights') == []
