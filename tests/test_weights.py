import os
import pickle

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.weights import read_safetensors, read_weights, write_safetensors


@pytest.fixture(scope='module')
def model():
    return ic.create_model('mobileformer_26m', num_classes=3)


@pytest.fixture
def file(model, tmp_path):
    paddle.save(model.state_dict(), str(tmp_path / 'model.pdparams'))
    return tmp_path / 'model.pdparams'


def fresh(**overrides):
    return ic.create_model('mobileformer_26m', num_classes=3, **overrides)


def assert_equal(a, b):
    for name, tensor in a.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), b.state_dict()[name].numpy(), err_msg=name)


def message(function, *args):
    with pytest.raises(ic.UserError) as caught:
        function(*args)
    return str(caught.value)


def test_a_pdparams_of_the_seeds_code_loads(model, file):
    other = fresh()
    assert ic.load_weights(other, file) == []
    assert_equal(model, other)


@pytest.mark.parametrize('wrapper', ['model', 'model_ema', 'state_dict'])
def test_a_training_checkpoint_of_paddlevit_loads(model, tmp_path, wrapper):
    paddle.save({wrapper: model.state_dict(), 'epoch': 3, 'optimizer': {}}, str(tmp_path / 'a.pdparams'))
    other = fresh()
    ic.load_weights(other, tmp_path / 'a.pdparams')
    assert_equal(model, other)


def test_the_moving_average_is_preferred_where_there_is_one(model, tmp_path):
    paddle.save({'model': fresh().state_dict(), 'model_ema': model.state_dict()}, str(tmp_path / 'a.pdparams'))
    other = fresh()
    ic.load_weights(other, tmp_path / 'a.pdparams')
    assert_equal(model, other)


def test_safetensors_load(model, tmp_path):
    write_safetensors(tmp_path / 'a.safetensors', {k: v.numpy() for k, v in model.state_dict().items()}, {'a': 'b'})
    other = fresh()
    ic.load_weights(other, tmp_path / 'a.safetensors')
    assert_equal(model, other)
    assert read_safetensors(tmp_path / 'a.safetensors')[1] == {'a': 'b'}


def test_half_precision_weights_are_widened(model, tmp_path):
    state = {k: v.numpy().astype(np.float16) for k, v in model.state_dict().items()}
    write_safetensors(tmp_path / 'a.safetensors', state, {})
    other = fresh()
    ic.load_weights(other, tmp_path / 'a.safetensors')
    assert other.tokens.dtype == paddle.float32


def test_what_does_not_fit_is_listed_and_nothing_is_changed(model, tmp_path):
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    state['extra'] = state.pop('tokens')
    state['stem.conv.bias'] = np.zeros(9, np.float32)
    write_safetensors(tmp_path / 'a.safetensors', state, {})
    other = fresh()
    before = other.head.fc1.weight.numpy()
    text = message(ic.load_weights, other, tmp_path / 'a.safetensors')
    assert '1 missing: tokens' in text and '1 unexpected: extra' in text and 'stem.conv.bias (9,), wanted (8,)' in text
    np.testing.assert_array_equal(before, other.head.fc1.weight.numpy())


def test_another_number_of_classes_is_refused_unless_a_new_classifier_is_wanted(file):
    other = ic.create_model('mobileformer_26m', num_classes=5)
    assert 'head.fc2.weight (1024, 3), wanted (1024, 5)' in message(ic.load_weights, other, file)
    assert ic.load_weights(other, file, new_classifier=True) == ['head.fc2.weight', 'head.fc2.bias']


def test_a_new_classifier_does_not_excuse_other_differences(file):
    other = ic.create_model('mobileformer_52m', num_classes=5)
    message(lambda: ic.load_weights(other, file, new_classifier=True))


class Attack:
    def __reduce__(self):
        return os.mkdir, ('attacked',)


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.pdparams').write_bytes(pickle.dumps({'tokens': Attack()}))
    assert 'mkdir' in message(read_weights, tmp_path / 'a.pdparams')
    assert not (tmp_path / 'attacked').exists()


@pytest.mark.parametrize('name, content', [
    ('cut.safetensors', None), ('cut.pdparams', None), ('empty.safetensors', b''), ('text.pdparams', b'hello'),
    ('list.pdparams', pickle.dumps([1, 2])), ('numbers.pdparams', pickle.dumps({'a': 1})),
    ('nothing.pdparams', pickle.dumps({})),
    ('weights.pth', b'')])
def test_a_damaged_or_foreign_file_gets_one_clear_message(model, file, tmp_path, name, content):
    if content is None:
        write_safetensors(tmp_path / 'whole.safetensors', {'tokens': np.zeros((3, 4), np.float32)}, {})
        whole = file if name.endswith('pdparams') else tmp_path / 'whole.safetensors'
        content = whole.read_bytes()[:-5]
    (tmp_path / name).write_bytes(content)
    assert name in message(read_weights, tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    assert 'nothing.pdparams' in message(read_weights, tmp_path / 'nothing.pdparams')


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.safetensors'
    write_safetensors(path, {'a': np.zeros(1)}, {})
    before = path.read_bytes()

    def full_disk(*args):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full_disk)
    assert 'No space left' in message(write_safetensors, path, {'a': np.ones(1)}, {})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['a.safetensors']
