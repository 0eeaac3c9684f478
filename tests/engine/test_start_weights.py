"""A classifier of other classes is not kept because there are as many."""
import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.checkpoint import write_network
from image_classification.datasets.imagenet_names import imagenet_classes
from image_classification.engine import start_weights
from image_classification.engine.start_weights import start_from
from image_classification.weights import write_safetensors

NAMES = ['cat', 'dog', 'fox']


def network(name='mobilenet_v1_x0_25', seed=0):
    paddle.seed(seed)
    return ic.create_model(ic.get_config(name, {'MODEL.NUM_CLASSES': 3}))


@pytest.fixture(scope='module')
def known(tmp_path_factory):
    """(a network, its checkpoint with names)"""
    model = network(seed=1)
    model.classifier.bias.set_value(np.float32([1, 2, 3]))
    path = tmp_path_factory.mktemp('start') / 'best.safetensors'
    write_network(path, model, model.config, NAMES)
    return model, path


def arrays(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize('classes, order, words', [
    (NAMES, [0, 1, 2], ''), (['fox', 'cat', 'dog'], [2, 0, 1], 'the same classes in another order'),
    (['0', '1', '2'], [0, 1, 2], 'are not known')])
def test_a_classifier_is_kept_by_the_names_of_its_classes(known, classes, order, words):
    model, theirs = network(), arrays(known[0])
    line, = start_from(model, str(known[1]), classes)
    assert line.startswith(f'weights from {known[1]}') and words in line and bool(words) == (line != f'weights from {known[1]}')
    np.testing.assert_array_equal(model.classifier.weight.numpy(), theirs['classifier.weight'][:, order])
    np.testing.assert_array_equal(model.classifier.bias.numpy(), theirs['classifier.bias'][order])


def test_a_classifier_of_other_classes_starts_afresh(known):
    model, theirs = network(), arrays(known[0])
    own = arrays(model)
    line, = start_from(model, str(known[1]), ['cat', 'dog', 'owl'])
    assert 'only in the data: owl; only in the weights: fox. classifier.weight, classifier.bias keep their fresh weights' in line
    found = arrays(model)
    for name in found:
        np.testing.assert_array_equal(found[name], (own if name.startswith('classifier.') else theirs)[name])


def test_weights_without_names_keep_their_classifier_and_it_says_so(known, tmp_path):
    write_safetensors(tmp_path / 'w.safetensors', arrays(known[0]), {})
    model = network()
    assert 'are not known' in start_from(model, str(tmp_path / 'w.safetensors'), NAMES)[0]
    np.testing.assert_array_equal(model.classifier.bias.numpy(), [1, 2, 3])


def test_published_weights_of_1000_classes_know_imagenets(monkeypatch, tmp_path):
    monkeypatch.setattr(start_weights, 'load_pretrained', lambda model, pretrained: ('there', []))
    (tmp_path / 'w.pdparams').touch()
    others = [f'class {i}' for i in range(1000)]
    assert start_from(network(), 'default', list(imagenet_classes())) == ['weights from there']
    assert 'keep their fresh weights' in start_from(network(), 'default', others)[0]
    assert 'are not known' in start_from(network(), str(tmp_path / 'w.pdparams'), others)[0]
