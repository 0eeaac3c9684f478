"""What other programs save around a network's weights, in every format of files."""
import json
import pickle
import struct
import warnings

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.checkpoint import write_network
from image_classification.layers import FeatureExtractor
from image_classification.weights import from_torch, read_safetensors, to_torch, write_safetensors
from image_classification.weights.catalogue import classifier_of
from image_classification.weights.pretrained import load_pretrained
from tests.networks import empty
from tests.torch_writer import tensor, zip_file
from tests.weights.conftest import NAME

ADAM = {'state': {0: {'exp_avg': np.ones((16, 3, 3, 3), np.float32)}}, 'param_groups': [{'lr': 0.1}]}


@pytest.fixture(scope='module')
def published(network):
    """The network's weights under timm's names."""
    return to_torch(network, 'timm')


@pytest.fixture(scope='module')
def of_zeros():
    return empty(NAME, num_classes=2)


@pytest.fixture
def blank(of_zeros):
    """A network of zeros for the network's weights."""
    with paddle.no_grad():
        for value in of_zeros.state_dict().values():
            value.zero_()
    return of_zeros


def with_prefix(prefix, state):
    return {f'{prefix}{key}': value for key, value in state.items()}


def torch_bytes(content):
    """What torch.save writes of nested containers of arrays."""
    storages = {}

    def described(value):
        if isinstance(value, np.ndarray):
            kind = {'float16': 'HalfStorage', 'float32': 'FloatStorage', 'int64': 'LongStorage'}[str(value.dtype)]
            storages[str(len(storages))] = value.tobytes()
            return tensor(str(len(storages) - 1), value.shape, kind=kind)
        if isinstance(value, dict):
            return {key: described(item) for key, item in value.items()}
        return [described(item) for item in value] if isinstance(value, list) else value
    return zip_file(described(content), storages)


def written(directory, content, ending):
    """Path of a file that holds `content`."""
    path = directory / f'weights{ending}'
    if ending == '.safetensors':
        write_safetensors(path, content, {})
    else:
        path.write_bytes(torch_bytes(content) if ending == '.pth' else pickle.dumps(content, 4))
    return path


def same(model, network, but=()):
    return all((tensor == network.state_dict()[name]).all() for name, tensor in model.state_dict().items() if name not in but)


FLAT = {
    'of a compiled network': lambda state: with_prefix('_orig_mod.', state),
    'compiled, in parallel': lambda state: with_prefix('module._orig_mod.', state),
    'in parallel, compiled': lambda state: with_prefix('_orig_mod.module.', state),
    'of a submodule': lambda state: with_prefix('encoder.net.', state),
    'Lightning': lambda state: {**with_prefix('model.', state), 'criterion.weight': np.ones(2, np.float32)},
    'PaddleSeg, timm in mmpretrain': lambda state: with_prefix('backbone.timm_model.', state),
    'SWA': lambda state: {**with_prefix('module.', state), 'n_averaged': np.array([5])},
}
NESTED = {
    'Lightning': lambda state: {'state_dict': with_prefix('model.', state), 'epoch': 3, 'optimizer_states': [ADAM]},
    'a tutorial of PyTorch': lambda state: {'model_state_dict': state, 'optimizer_state_dict': ADAM, 'loss': 0.5, 'epoch': 3},
    'pytorch-cifar': lambda state: {'net': with_prefix('module.', state), 'acc': 91.2, 'epoch': 7},
    'a list of checkpoints': lambda state: [{'model': state, 'args': None}],
    'DeepSpeed': lambda state: {'module': state, 'optimizer': ADAM},
}


@pytest.mark.parametrize('wrap, ending', [                         # Lightning's in all
    *zip(FLAT.values(), ('.pth', '.safetensors', '.pdparams') * 3), (FLAT['Lightning'], '.pth'),
    (FLAT['Lightning'], '.pdparams'),
    *zip(NESTED.values(), ('.pth', '.pdparams', '.pth', '.pth', '.pdparams')), (NESTED['Lightning'], '.pdparams')])
def test_wrappers_of_other_programs_go_and_it_is_said(blank, network, published, tmp_path, wrap, ending):
    path = written(tmp_path, wrap(published), ending)
    with pytest.warns(UserWarning, match=rf'weights{ending}: taken from .*\*'):
        load_pretrained(blank, str(path))
    assert same(blank, network)


def test_the_moving_average_is_taken_and_the_other_one_named(blank, network, published, tmp_path):
    other = {key: value + 1 if value.dtype == np.float32 else value for key, value in published.items()}
    path = written(tmp_path, {'model': other, 'ema': with_prefix('module.', published)}, '.pth')
    with pytest.warns(UserWarning, match=r'taken from ema.module.\*; model.\* would fit as well'):
        ic.load_weights(blank, path)
    assert same(blank, network)
    with pytest.warns(UserWarning, match=r'taken from model.\*$'):
        ic.load_weights(blank, path, part='model')
    assert not same(blank, network)
    with pytest.raises(ic.UserError, match="no part 'emma'; found model, ema"):
        ic.load_weights(blank, path, part='emma')


def test_of_distillation_the_student_is_taken_where_it_fits_better(blank, network, published, tmp_path):
    teacher = {key: np.repeat(value, 2, 0) if 'classifier' in key else value + 1 for key, value in published.items()}
    path = written(tmp_path, {**with_prefix('Teacher.', teacher), **with_prefix('Student.', published)}, '.pdparams')
    with pytest.warns(UserWarning, match=r'taken from Student.\*; passed over Teacher'):
        ic.load_weights(blank, path)
    assert same(blank, network)


def test_a_plain_file_is_loaded_without_a_word(blank, network, published, tmp_path):
    counters = {key.replace('running_mean', 'num_batches_tracked'): np.array(9) for key in published if 'running_mean' in key}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for ending in ('.pth', '.safetensors', '.pdparams'):
            ic.load_weights(blank, written(tmp_path, {**published, **counters}, ending))
            assert same(blank, network)


@pytest.mark.parametrize('wrap', [FLAT['of a compiled network'], NESTED['Lightning']])
def test_from_torch_takes_wrappers_off_too(network, published, wrap):
    with pytest.warns(UserWarning, match='taken from'):
        state = from_torch(network, wrap(published), 'timm')
    assert all((state[name] == tensor.numpy()).all() for name, tensor in network.state_dict().items())


def test_weights_without_a_classifier_start_a_fine_tuning_and_nothing_else(blank, network, published, tmp_path):
    backbone = {key: value for key, value in published.items() if not key.startswith('classifier')}
    path = written(tmp_path, {**with_prefix('backbone.', backbone), 'head.fc.weight': np.ones((7, 9), np.float32)}, '.pth')
    with pytest.warns(UserWarning) as said:
        model = ic.create_model(NAME, num_classes=2, pretrained=path)
    words = [str(warning.message) for warning in said]
    assert any('passed over head.fc.weight' in line for line in words)
    assert 'has no classifier: classifier.1.weight, classifier.1.bias keep their fresh weights' in words[-1]
    assert same(model, network, but=('classifier.1.weight', 'classifier.1.bias'))
    with pytest.raises(ic.UserError, match='2 missing: classifier.1.weight'):
        ic.load_weights(model, path)
    del backbone['conv_stem.weight']
    with pytest.raises(ic.UserError, match='3 missing: '):
        load_pretrained(blank, str(written(tmp_path, backbone, '.pth')))


def test_another_network_in_a_wrapper_is_refused_with_the_usual_advice(published, tmp_path):
    path = written(tmp_path, {'state_dict': with_prefix('model.', published)}, '.pth')
    for name in ('mobilenet_v2_x0_5', 'shufflenet_v2_x0_5'):
        with pytest.raises(ic.UserError, match="not fit .* (missing|another shape): .*Check the model's name and MODEL.NUM_"):
            ic.create_model(name, num_classes=2, pretrained=path)


def bfloat16(array):
    """Its bits, cut off."""
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_half_precision_and_bfloat16_are_widened_in_every_format(blank, network, published, tmp_path):
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    text, data = {}, b''
    for name, value in state.items():
        bits = bfloat16(value).tobytes()
        text[name] = {'dtype': 'BF16', 'shape': list(value.shape), 'data_offsets': [len(data), len(data) + len(bits)]}
        data += bits
    header = json.dumps(text).encode()
    (tmp_path / 'b.safetensors').write_bytes(struct.pack('<Q', len(header)) + header + data)
    (tmp_path / 'b.pdparams').write_bytes(pickle.dumps({name: bfloat16(value) for name, value in state.items()}, 4))
    half = written(tmp_path, {key: value.astype(np.float16) for key, value in published.items()}, '.pth')
    for path, step in ((tmp_path / 'b.safetensors', 2 ** -7), (tmp_path / 'b.pdparams', 2 ** -7), (half, 2 ** -10)):
        ic.load_weights(blank, path)
        for name, value in blank.state_dict().items():
            assert value.dtype == paddle.float32
            np.testing.assert_allclose(value.numpy(), state[name], rtol=step, atol=1e-6)


def test_whole_numbers_are_no_weights(blank, published, tmp_path):
    path = written(tmp_path, {key: np.round(value * 99).astype(np.int64) for key, value in published.items()}, '.pth')
    with pytest.raises(ic.UserError, match='of another type: .* int64, wanted real numbers'):
        ic.load_weights(blank, path)


@pytest.mark.parametrize('call, words', [
    (lambda model: ic.load_weights(model, 5), 'load_weights got a int; wanted the path of a file'),
    (lambda model: ic.load_weights(model, {'a': 1}), 'load_weights got a dict; wanted the path of a file'),
    (lambda model: ic.load_weights(paddle.nn.Linear(1, 1), 'a'), 'load_weights got a Linear; wanted a network of create_model'),
    (lambda model: from_torch(paddle.nn.Linear(1, 1), {}), 'from_torch got a Linear'),
    (lambda model: to_torch(None), 'to_torch got a NoneType'),
    (lambda model: ic.load_weights(model, 'x' * 5000), 'no weights at x+ .*File name too long')])
def test_other_things_than_networks_and_files_are_named(network, call, words):
    with pytest.raises(ic.UserError, match=words):
        call(network)


def test_feature_maps_take_weights_as_their_network(blank, network, published, tmp_path):
    ic.load_weights(FeatureExtractor(blank), written(tmp_path, published, '.pth'))
    assert same(blank, network)


# A checkpoint of this library says how pictures are prepared for it.

@pytest.fixture(scope='module')
def trained(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('run') / 'best.safetensors'
    cfg = ic.get_config(NAME, {'MODEL.NUM_CLASSES': 2, 'DATA.IMAGE_SIZE': 64, 'DATA.IMAGENET_MEAN': [0.5], 'TEMPERATURE': 1.5})
    write_network(path, network, cfg, ['cat', 'dog'])
    return path


def test_a_checkpoint_brings_its_preprocessing_and_its_classes(network, trained):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        cfg = ic.create_model(NAME, pretrained=trained).config
    assert (cfg.DATA.IMAGE_SIZE, cfg.DATA.IMAGENET_MEAN, cfg.MODEL.NUM_CLASSES, cfg.TEMPERATURE) == (64, [0.5], 2, 1.5)
    with pytest.warns(UserWarning, match='another number of classes than 7'):
        model = ic.create_model(NAME, pretrained=trained, num_classes=7)
    assert (model.config.DATA.IMAGE_SIZE, model.config.MODEL.NUM_CLASSES) == (64, 7)


def test_a_network_that_prepares_pictures_otherwise_is_warned_of(blank, trained):
    with pytest.warns(UserWarning, match=r'with DATA.IMAGENET_MEAN \[0.5\], not \[0.485, .*DATA.IMAGE_SIZE 64, not 224'):
        ic.load_weights(blank, trained)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ic.load_weights(ic.create_model(NAME, pretrained=trained), trained)


def test_a_checkpoint_is_read_without_its_format_too(blank, network, trained, tmp_path):
    """As another program would copy it."""
    tensors, _ = read_safetensors(trained)
    with pytest.warns(UserWarning, match=r'taken from model.\*'):
        ic.load_weights(blank, written(tmp_path, tensors, '.safetensors'))
    assert same(blank, network)


@pytest.mark.parametrize('metadata', [{}, {'format': 'paddle-mobile-backbones checkpoint 1', 'config': '- 1'},
                                      {'format': 'paddle-mobile-backbones checkpoint 1', 'config': 'MODEL: [5'},
                                      {'format': 'pt', 'config': 'MODEL: {NUM_CLASSES: 5}'}])
def test_metadata_of_others_say_nothing(tmp_path, metadata):
    write_safetensors(tmp_path / 'a.safetensors', {'a': np.ones(1)}, metadata)
    assert classifier_of(str(tmp_path / 'a.safetensors')) == {}
