import json
import os
import pickle
import random
import struct

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.weights import read_safetensors, read_weights, write_safetensors
from image_classification.weights.loading import unwrap
from image_classification.weights.parts import entries
from tests import torch_writer
from tests.torch_writer import Name, legacy_file, zip_file


@pytest.fixture(scope='module')
def model():
    return fresh()


@pytest.fixture
def file(model, tmp_path):
    paddle.save(model.state_dict(), str(tmp_path / 'model.pdparams'))
    return tmp_path / 'model.pdparams'


def fresh(num_classes=3, **overrides):
    """A Mobile-Former of one block."""
    return ic.create_model('mobileformer_26m', num_classes=num_classes, block_in_channels=[12], block_hidden_channels=[36],
                           block_out_channels=[96], block_kernels=[3], block_strides=[2], block_paddings=[1], **overrides)


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
    with pytest.warns(UserWarning, match=rf'taken from {wrapper}.\*$'):
        ic.load_weights(other, tmp_path / 'a.pdparams')
    assert_equal(model, other)


def test_the_moving_average_is_preferred_where_there_is_one(model, tmp_path):
    paddle.save({'model': fresh().state_dict(), 'model_ema': model.state_dict()}, str(tmp_path / 'a.pdparams'))
    other = fresh()
    with pytest.warns(UserWarning, match=r'taken from model_ema.\*; model.\* would fit as well'):
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
    other = fresh(num_classes=5)
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


@pytest.fixture(params=[zip_file, lambda content, data: legacy_file(content, {key: (3, value) for key, value in data.items()})])
def torch_file(request, tmp_path):
    """torch_file(content, ending): path of a file of torch.save, whose storage '0' is 0, 1, 2 and '1' is 3, 4, 5."""
    def write(content, ending='.pth'):
        path = tmp_path / f'torch{ending}'
        path.write_bytes(request.param(content, {str(i): np.arange(3 * i, 3 * i + 3, dtype='f4').tobytes() for i in (0, 1)}))
        return path
    return write


TWO = {'a.weight': torch_writer.tensor('0', (3,)), 'a.bias': torch_writer.tensor('1', (3,))}


@pytest.mark.parametrize('ending', ['.pth', '.pt', '.pth.tar', '.bin', '.pdparams', '.safetensors', ''])
def test_files_of_pytorch_are_known_by_their_content(torch_file, ending):
    parallel = {f'module.{name}': value for name, value in TWO.items()}
    state = read_weights(torch_file({'state_dict': parallel, 'epoch': 1}, ending))
    assert list(state) == ['a.weight', 'a.bias']
    np.testing.assert_array_equal(state['a.bias'], [3, 4, 5])


def test_other_files_are_known_by_their_content_too(tmp_path):
    write_safetensors(tmp_path / 'a.pth', {'a': np.ones(2)}, {})
    (tmp_path / 'b.bin').write_bytes(pickle.dumps({'a': np.ones(2)}))
    for name in ('a.pth', 'b.bin'):
        np.testing.assert_array_equal(read_weights(tmp_path / name)['a'], [1, 1])


def test_a_part_of_a_checkpoint_can_be_named(torch_file):
    path = torch_file({'model': {'w': TWO['a.weight']}, 'model_ema': {'w': TWO['a.bias']},
                       'args': Name('argparse', 'Namespace')()})
    np.testing.assert_array_equal(read_weights(path)['w'], [3, 4, 5])
    np.testing.assert_array_equal(read_weights(path, wrapper='model')['w'], [0, 1, 2])
    assert "no part 'student'; found model, model_ema" in message(read_weights, path, 'student')


@pytest.mark.parametrize('options', [('omegaconf.dictconfig', 'DictConfig'), ('easydict', 'EasyDict'),
                                     ('lightning_fabric.utilities.data', 'AttributeDict')])
def test_options_beside_the_weights_are_passed_over(torch_file, options):
    path = torch_file({'state_dict': TWO, 'hyper_parameters': Name(*options)()})
    np.testing.assert_array_equal(read_weights(path)['a.bias'], [3, 4, 5])


def test_weights_without_a_wrapper_need_none(torch_file):
    assert read_weights(torch_file(TWO), wrapper='model_ema').keys() == TWO.keys()


@pytest.mark.parametrize('content, taken', [
    ({'model': {'x': 1}, 'state_dict_ema': {'x': 2}}, {'x': 2}), ({'state_dict': {'x': 1}, 'ema': {'x': 2}}, {'x': 2}),
    ({'model': {'module.x': 1, 'module.y': 2}}, {'x': 1, 'y': 2}), ({'module.x': 1, 'y': 2}, {'module.x': 1, 'y': 2}),
    ({'module._orig_mod.x': 1, 'module._orig_mod.y': 2}, {'x': 1, 'y': 2}),
    ({'net': {'x': 1}, 'optimizer': {'x': 2}}, {'x': 1}),
    ({'model': 'a name', 'x': 1}, {'x': 1}), ([{'state_dict': {'x': 1}}], {'x': 1}), ({'ema.x': 1, 'model.x': 2}, {'x': 1})])
def test_wrappers_are_taken_off(content, taken):
    """Without a network to compare with."""
    assert unwrap(entries(content, lambda value: value if isinstance(value, int) else None), 'a file') == taken


def test_of_several_parts_without_a_usual_name_one_must_be_named(torch_file):
    path = torch_file({'first': {'w': TWO['a.weight']}, 'second': {'w': TWO['a.bias']}})
    assert 'several parts, none with a usual name of a state dict; found first, second. ' in message(read_weights, path)
    np.testing.assert_array_equal(read_weights(path, 'second')['w'], [3, 4, 5])


@pytest.mark.parametrize('content', [{'w': 'x'}, [1], {}, 7, {'model': {}}, {'net': {'w': None}}])
def test_what_is_no_state_dict_is_an_error(tmp_path, content):
    for data in (zip_file(content, {'0': bytes(12), '1': bytes(12)}), torch_writer.program({'a': 1})):
        (tmp_path / 'a.pth').write_bytes(data)
        assert 'wanted the state dict of a network' in message(read_weights, tmp_path / 'a.pth')


@pytest.mark.parametrize('content, found', [
    (b'\n<!DOCTYPE html><html>', 'a web page'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'a pointer to a file in Git LFS'),
    (b'\x1f\x8b\x08' + bytes(100), 'damaged, or no weights file'), (b'', 'damaged, or no weights file')])
def test_what_is_saved_by_mistake_is_named(tmp_path, content, found):
    (tmp_path / 'a.pth').write_bytes(content)
    assert f'a.pth is {found}; wanted' in message(read_weights, tmp_path / 'a.pth')


@pytest.mark.parametrize('dtype, shape, header, problem', [
    ('F32', [2], 10 ** 15, 'header too large'), ('F32', [10 ** 12], None, 'damaged'), ('F32', [10 ** 10] * 2, None, 'damaged'),
    ('F8_E5M2', [8], None, 'numbers of a type'), ('F8_E4M3', [8], None, 'of a type that is not read here (F8_E4M3); wanted')])
def test_safetensors_that_promise_too_much_are_an_error(tmp_path, dtype, shape, header, problem):
    text = json.dumps({'a': {'dtype': dtype, 'shape': shape, 'data_offsets': [0, 8]}}).encode()
    (tmp_path / 'a.safetensors').write_bytes(struct.pack('<Q', header or len(text)) + text + bytes(8))
    assert problem in message(read_weights, tmp_path / 'a.safetensors')


def test_flipped_bits_of_a_pdparams_are_an_error_or_another_number(tmp_path):
    whole = pickle.dumps({'w': np.arange(6, dtype='f4').reshape(2, 3), 'b': ('b_0', np.ones(2))}, 4)
    rng, errors = random.Random(0), 0
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / 'a.pdparams').write_bytes(data)
        try:
            state = read_weights(tmp_path / 'a.pdparams')
        except ic.UserError as error:
            errors += 1
            assert 'a.pdparams' in str(error)
        else:
            assert sum(value.nbytes for value in state.values()) <= len(data)
    assert errors > 50


@pytest.mark.parametrize('name, words', [
    ('run', r'run is a directory; wanted a file of weights in it, best.safetensors or last.safetensors'),
    ('empty', 'empty is a directory; wanted a file of weights in it, of which it has none'),
    ('inference.pdiparams', 'part of an export, .* wanted the checkpoint'), ('a.onnx', 'part of an export')])
def test_a_directory_or_an_export_is_told_from_weights(tmp_path, name, words):
    for directory in ('run', 'empty'):
        (tmp_path / directory).mkdir()
    for file in ('run/best.safetensors', 'run/last.safetensors', 'run/log.txt', 'inference.pdiparams', 'a.onnx'):
        (tmp_path / file).write_bytes(bytes(100))
    with pytest.raises(ic.UserError, match=words):
        read_weights(tmp_path / name)


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
