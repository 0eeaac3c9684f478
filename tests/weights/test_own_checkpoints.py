"""A checkpoint brings its network: keys of MODEL that no shape shows, such as a stride, used to be lost without a word."""
import warnings

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.checkpoint import named_network, write_network
from image_classification.config import changed
from image_classification.datasets import get_dataset
from image_classification.weights import catalogue, pretrained

NAME, STRIDE = 'mobileformer_26m', 'MODEL.MF.LITE_BNECK.STRIDE'
SMALLER = {'MODEL.NUM_CLASSES': 3, STRIDE: 1, 'DATA.IMAGE_SIZE': 32, 'MODEL.DROPOUT': 0.0}


@pytest.fixture(scope='module')
def images():
    return paddle.randn([1, 3, 32, 32])


@pytest.fixture(scope='module')
def network():
    model = ic.create_model(ic.get_config(NAME, SMALLER))
    model.eval()
    return model


@pytest.fixture(scope='module')
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('run') / 'best.safetensors'
    write_network(path, network, network.config, ['a', 'b', 'c'])
    return str(path)


def logits(model, images):
    model.eval()
    return model(images).numpy()


def test_a_network_by_its_name_is_that_of_the_checkpoint(checkpoint, network, images):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = ic.create_model(NAME, pretrained=checkpoint)
    assert model.config.MODEL.MF.LITE_BNECK.STRIDE == 1 and model.config.MODEL.DROPOUT == 0.1    # dropout is of the training
    np.testing.assert_array_equal(logits(model, images), logits(network, images))


def test_a_training_by_its_name_has_it_too(checkpoint):
    assert ic.get_config(NAME, {'PRETRAINED': checkpoint}).MODEL.MF.LITE_BNECK.STRIDE == 1
    assert ic.get_config(NAME, {'PRETRAINED': checkpoint, STRIDE: 2}).MODEL.MF.LITE_BNECK.STRIDE == 2


def test_what_the_user_wants_otherwise_is_built_with_a_warning(checkpoint):
    cfg = ic.get_config(NAME, {**SMALLER, STRIDE: 2})
    with pytest.warns(UserWarning, match=f'was trained with {STRIDE} 1, not 2'):
        assert ic.create_model(cfg, pretrained=checkpoint).config.MODEL.MF.LITE_BNECK.STRIDE == 2


def test_load_weights_warns(checkpoint):
    model = ic.create_model(NAME, num_classes=3)
    with pytest.warns(UserWarning, match=f'{STRIDE} 1, not 2'):
        ic.load_weights(model, checkpoint)


def test_a_checkpoint_of_another_network_does_not_change_this_one(checkpoint):
    with pytest.raises(ic.UserError, match='does not fit'):
        ic.create_model('mobileformer_52m', pretrained=checkpoint)


def test_by_the_command_line_it_comes_with_its_classes(checkpoint, network, images):
    model, class_names = named_network(NAME, checkpoint)
    assert class_names == ['a', 'b', 'c']
    np.testing.assert_array_equal(logits(model, images), logits(network, images))


@pytest.fixture
def tagged(checkpoint, tmp_path, monkeypatch):
    """A yaml of the network whose tag 'letters' names the checkpoint, as one in weights/ is named."""
    for module in (catalogue, pretrained):
        monkeypatch.setattr(module, 'HOME', tmp_path)
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights/letters.safetensors').write_bytes(open(checkpoint, 'rb').read())
    (tmp_path / 'letters.yaml').write_text(f"BASE: [{NAME}]\nPUBLISHED:\n  WEIGHTS:\n    - {{TAG: letters, STYLE: paddle, LICENCE: Apache-2.0, "
                                           "SOURCE: this library, FILE: weights/letters.safetensors, NUM_CLASSES: 3}\n")
    return tmp_path / 'letters.yaml'


def test_a_tag_names_a_file_of_the_library(tagged, network, images):
    model = ic.create_model(tagged, pretrained='letters', num_classes=3)
    assert model.config.MODEL.MF.LITE_BNECK.STRIDE == 1 and model.config.DATA.IMAGE_SIZE == 32
    np.testing.assert_array_equal(logits(model, images), logits(network, images))


def test_such_a_file_is_never_the_default(tagged):
    with pytest.raises(ic.UserError, match='ImageNet weights for mobileformer_26m; give a file, or one of the tags letters'):
        ic.create_model(tagged, pretrained=True)


def test_such_a_file_that_is_missing_is_named(tagged):
    (tagged.parent / 'weights/letters.safetensors').unlink()
    with pytest.raises(ic.UserError, match='weights/letters.safetensors, the weights letters of mobileformer_26m, is not in'):
        ic.create_model(tagged, pretrained='letters', num_classes=3)


def test_the_digits_that_come_with_the_library_are_told():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model, class_names = named_network(NAME, 'mnist')
        same = ic.create_model(NAME, pretrained='mnist')
    digits = get_dataset(changed(model.config, {'DATA.DATASET': 'mnist5k'}), is_train=False)
    images, labels = zip(*(digits[i] for i in range(0, len(digits), 20)))
    found = logits(model, paddle.to_tensor(np.stack(images)))
    np.testing.assert_array_equal(logits(same, paddle.to_tensor(np.stack(images))), found)
    assert (found.argmax(1) == np.array(labels)).sum() >= 48 and class_names == [str(digit) for digit in range(10)]
