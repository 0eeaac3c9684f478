from importlib.resources import files

import pytest

from image_classification.datasets.imagenet_names import imagenet_classes, names_to_show


def test_there_are_1000_ids_in_the_order_of_ilsvrc_each_with_a_name_of_its_own():
    ids, names = list(imagenet_classes()), list(imagenet_classes().values())
    assert len(ids) == len(set(names)) == 1000 and ids == sorted(ids)
    assert all(name == name.strip() and name.isprintable() for name in names)


# The numbers under which other libraries and papers speak of these classes.
@pytest.mark.parametrize('index, wordnet_id, name', [
    (0, 'n01440764', 'tench'), (1, 'n01443537', 'goldfish'), (134, 'n02012849', 'crane bird'),
    (207, 'n02099601', 'golden retriever'), (281, 'n02123045', 'tabby'), (388, 'n02510455', 'giant panda'),
    (517, 'n03126707', 'crane'), (638, 'n03710637', 'maillot'),
    (639, 'n03710721', 'maillot tank suit'), (817, 'n04285008', 'sports car'), (954, 'n07753592', 'banana'),
    (999, 'n15075141', 'toilet tissue')])
def test_a_class_has_the_number_that_everybody_gives_it(index, wordnet_id, name):
    assert list(imagenet_classes().items())[index] == (wordnet_id, name)


@pytest.mark.parametrize('names', [[], [str(i) for i in range(1000)], list(range(1000)), list(imagenet_classes())],
                         ids=['none', 'numbers', 'whole numbers', 'ids'])
def test_1000_classes_without_names_get_imagenets(names):
    assert names_to_show(names, 1000)[207] == 'golden retriever'


@pytest.mark.parametrize('names', [[f'part {i}' for i in range(1000)], sorted(str(i) for i in range(1000))],
                         ids=['others', 'folders in the order of letters'])
def test_1000_other_names_stay(names):
    assert names_to_show(names, 1000) == names


def test_other_numbers_of_classes_without_names_are_numbered():
    assert names_to_show([], 3) == ['0', '1', '2'] and names_to_show(['a', 'b'], 2) == ['a', 'b']


def test_the_licence_of_the_names_comes_with_them():
    text = (files('image_classification.datasets') / 'imagenet_classes.LICENSE.txt').read_text(encoding='utf-8')
    assert 'WordNet 3.0 Copyright 2006 by Princeton University' in text and 'Permission to use, copy, modify' in text
