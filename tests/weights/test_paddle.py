"""Weights of paddle.vision and of PaddleClas: the former against its code, the latter against recorded keys.

PaddleClas's code, and all variants: python tools/maintenance/compare_paddle.py --paddleclas DIR
"""
import hashlib

import numpy as np
import paddle
import pytest
import yaml

import compare_paddle
import convert_weights
import image_classification as ic
from image_classification.checkpoint import write_network
from image_classification.weights import from_torch, load_weights, to_torch
from image_classification.weights.key_styles import OtherNetwork, detect_style, require_style
from image_classification.weights.pretrained import load_pretrained
from tests.download_server import answer, status, whole
from tests.networks import outline
from tests.test_published import drawn, recorded

V1, V3 = 'mobilenet_v1_x0_25', 'mobilenet_v3_small_x0_5'
VARIANCE = {'paddleclas': 'inception_stem.conv_1a_3x3.bn._variance', 'paddle_vision': 'inception_stem.conv_1a_3x3.1._variance'}
VISION = {name: make for name, _, make in compare_paddle.VISION}


def saved(path, state):
    paddle.save({key: paddle.to_tensor(value) for key, value in state.items()}, str(path))
    return path


@pytest.fixture(scope='module')
def clas(tmp_path_factory):
    """clas(name): (file of drawn weights with the keys of PaddleClas's network, {key: array})."""
    folder, files = tmp_path_factory.mktemp('paddleclas'), {}

    def make(name):
        if name not in files:
            state = drawn(recorded(name, 'paddleclas'))
            files[name] = saved(folder / f'{name}.pdparams', state), state
        return files[name]
    return make


# What they compute.

@pytest.mark.parametrize('name', [V1, 'mobilenet_v3_small_x1_0', 'shufflenet_v2_x0_5'])
def test_a_network_of_paddle_vision_gives_the_logits_of_its_code(name, tmp_path):
    found, back = compare_paddle.compare(name, {}, 'paddle_vision', VISION[name], tmp_path, side=64)
    assert max(found, back) < 1e-4


def test_what_paddle_vision_names_like_us_is_read_as_ours():
    """Its MobileNetV2 is the same network."""
    model, state = outline('mobilenet_v2_x1_0'), drawn(recorded('mobilenet_v2_x1_0', 'paddle_vision'))
    assert detect_style(model, state) == 'paddle' and list(state) == list(model.state_dict())
    assert all(value is state[key] for key, value in from_torch(model, state, 'paddle_vision').items())


def test_what_the_code_of_paddleclas_does_besides_is_in_the_layers(clas):
    """Its dropout multiplies by 0.8 in evaluation, and its gates have a slope of 0.2 where ours have 1/6."""
    path, published = clas(V3)
    with pytest.warns(UserWarning, match='built with MODEL.DESIGN paddleclas'):
        state = ic.create_model(V3, pretrained=path).state_dict()
    near = {'rtol': 1e-6}
    np.testing.assert_allclose(state['classifier.3.weight'], published['fc.weight'] * 0.8, **near)
    np.testing.assert_allclose(state['classifier.3.bias'], published['fc.bias'])
    np.testing.assert_allclose(state['features.1.block.2.fc2.bias'], published['blocks.0.mid_se.conv2.bias'] * 1.2, **near)
    np.testing.assert_allclose(state['classifier.0.weight'].T, published['last_conv.weight'][:, :, 0, 0])
    np.testing.assert_allclose(state['features.0.1.weight'], published['conv.bn.weight'])    # it has their epsilon


@pytest.mark.parametrize('style', ['paddleclas', 'paddle_vision'])
def test_inception_v3_has_the_factor_too_and_its_epsilon_or_rescaled_weights(style):
    with paddle.LazyGuard():
        usual, suited = (ic.create_model('inception_v3', aux_logits=False, epsilon=epsilon) for epsilon in (1e-3, 1e-5))
    published = drawn({key: shape for key, shape in recorded('inception_v3', style).items() if 'conv_1a' in key or 'fc' in key})
    factor = np.sqrt((published[VARIANCE[style]] + 1e-3) / (published[VARIANCE[style]] + 1e-5))
    for model, wanted in ((usual, factor), (suited, 1.0)):
        state = from_torch(model, published, style, strict=False)
        np.testing.assert_allclose(state['fc.weight'], published['fc.weight'] * 0.8, rtol=1e-6)
        weight = published[VARIANCE[style].replace('_variance', 'weight')]
        np.testing.assert_allclose(state['Conv2d_1a_3x3.bn.weight'], weight * wanted, rtol=1e-6)
        require_style(model, style)
    require_style(suited, style, suited=True)
    with pytest.raises(OtherNetwork, match='MODEL.EPSILON 1e-05'):
        require_style(usual, style, suited=True)


# Which network they are for.

@pytest.mark.parametrize('name, tag, key', [
    (V1, 'paddleclas', ('ACTIVATION', 'relu')), ('mobilenet_v1_x1_0', 'paddle_vision', ('ACTIVATION', 'relu')),
    ('mobilenet_v2_x1_0', 'paddleclas_ssld', ('DESIGN', 'paddleclas')),
    ('mobilenet_v3_large_x1_0', 'paddleclas_ssld', ('DESIGN', 'paddleclas')),
    ('mobilenet_v2_x1_0', 'imagenet1k_v1', ('DESIGN', 'paper')), ('inception_v3', 'paddle_vision', ('EPSILON', 1e-5))])
def test_a_tag_brings_the_keys_of_its_network(name, tag, key):
    assert ic.get_config(name, {'PRETRAINED': tag}).MODEL[key[0]] == key[1]


def test_an_entry_with_keys_of_the_network_and_md5_is_fetched_checked_and_loaded(clas, server, tmp_path):
    content = clas(V1)[0].read_bytes()
    server.replies = [whole(content)]
    entry = {'TAG': 'theirs', 'STYLE': 'paddleclas', 'LICENCE': 'MIT', 'SOURCE': 'us', 'URL': f'{server.url}/a.pdparams',
             'MODEL': {'ACTIVATION': 'relu'}, 'DATA': {'CROP_PCT': 0.5},
             'MD5': hashlib.md5(content, usedforsecurity=False).hexdigest()}
    path = tmp_path / 'published.yaml'
    path.write_text(yaml.safe_dump({'BASE': [V1], 'PUBLISHED': {'WEIGHTS': [entry]}}))
    model = ic.create_model(path, pretrained=True)
    assert (model.config.MODEL.ACTIVATION, model.config.DATA.CROP_PCT) == ('relu', 0.5)
    assert ic.create_model(ic.get_config(path), pretrained='theirs').config.MODEL.ACTIVATION == 'relu'
    with pytest.raises(ic.UserError, match='MODEL.ACTIVATION relu; this .* has MODEL.ACTIVATION relu6'):
        ic.create_model(path, pretrained=True, activation='relu6')


def test_a_file_of_another_network_builds_that_or_says_so(clas, tmp_path):
    path, published = clas(V1)
    with pytest.warns(UserWarning, match='built with MODEL.ACTIVATION relu, as its weights require'):
        model = ic.create_model(V1, pretrained=path)
    assert model.config.MODEL.ACTIVATION == 'relu'
    assert all((to_torch(model, 'paddleclas')[key] == value).all() for key, value in published.items())
    usual = ic.create_model(V1)
    before = {name: tensor.clone() for name, tensor in usual.state_dict().items()}
    for load in (lambda: load_weights(usual, path), lambda: load_pretrained(usual, str(path)),
                 lambda: from_torch(usual, published, 'paddleclas'), lambda: to_torch(usual, 'paddleclas'),
                 lambda: ic.create_model(V1, pretrained=path, activation='relu6'), lambda: to_torch(model, 'timm')):
        with pytest.raises(OtherNetwork, match=r"MODEL.ACTIVATION relu.*activation='relu6?'\), or give a training -opts MODEL"):
            load()
    assert all((usual.state_dict()[name] == tensor).all() for name, tensor in before.items())


@pytest.mark.parametrize('ending', ['safetensors', 'pdparams'])
def test_what_we_write_of_such_a_network_says_so(clas, tmp_path, ending):
    converted = tmp_path / f'converted.{ending}'
    with pytest.warns(UserWarning, match='built with'):
        convert_weights.main([f'{V1}={clas(V1)[0]}', str(converted)])
    model = ic.create_model(V1, pretrained=converted)
    assert model.config.MODEL.ACTIVATION == 'relu'
    with pytest.raises(OtherNetwork, match='as its own note says, is for a network with MODEL.ACTIVATION relu'):
        load_weights(ic.create_model(V1), converted)
    if ending == 'safetensors':
        write_network(tmp_path / 'best.safetensors', model, model.config, [])
        assert ic.create_model(V1, pretrained=tmp_path / 'best.safetensors').config.MODEL.ACTIVATION == 'relu'


def test_the_command_writes_what_paddleclas_loads(clas, tmp_path):
    path, published = clas(V3)
    with pytest.warns(UserWarning, match='built with'):
        convert_weights.main([f'{V3}={path}', str(tmp_path / 'back.pdparams'), '--style', 'paddleclas'])
    back = paddle.load(str(tmp_path / 'back.pdparams'))
    assert back.keys() - {'__provenance__'} == published.keys()
    for key, value in published.items():
        np.testing.assert_allclose(back[key], value, rtol=1e-6, err_msg=key)


# What is refused.

@pytest.mark.parametrize('name, file, key, why', [
    ('googlenet', 'a', '_ince3a._conv1._conv.weight', 'without batch norms'),
    ('inception_v4', 'a', '_inception_stem._conv_1._conv.weight', '1x7 and 7x1 kernels are swapped'),
    ('xception', 'a', '_entry_flow._conv1._conv.weight', '1x1 before depthwise'),
    ('xception', 'a', '_conv1._bn.weight', 'a norm behind each depthwise'),
    ('shufflenet_v2_x1_0', 'ShuffleNetV2_swish_pretrained', '_fc.bias', 'swish in place of ReLU')])
def test_another_network_of_that_name_is_refused_with_the_reason(name, file, key, why, tmp_path):
    path = saved(tmp_path / f'{file}.pdparams', {f'Student.{key}': np.ones(3, np.float32)})
    with pytest.raises(ic.UserError, match=f'{path} is not for {name}: .*{why}.*Wanted one of the tags '):
        load_weights(outline(name), path)


@pytest.mark.parametrize('name, tag', [
    ('googlenet', 'paddle_vision'), ('inception_v4', 'paddleclas'), ('xception', 'paddleclas')])
def test_so_is_its_tag(name, tag):
    with pytest.raises(ic.UserError, match=f"{name} has no weights '{tag}': the .* network.*; wanted "):
        ic.get_config(name, {'PRETRAINED': tag})


# Which can be had.

def test_lists_what_can_be_had_from_here(server, tmp_path, monkeypatch):
    server.replies = [lambda handler: answer(handler, 206 if 'there' in handler.path else 404, {'Content-Length': 0})]
    entry = {'STYLE': 'timm', 'LICENCE': 'MIT', 'SOURCE': 'us'}
    places = {'there': {'URL': f'{server.url}/there/a.pth'}, 'gone': {'URL': f'{server.url}/gone/a.pth'},
              'dead': {'URL': 'http://127.0.0.1:1/a.pth'}, 'page': {'URL': f'{server.url}/there/view', 'MANUAL': True},
              'pip': {'PACKAGE': 'no-such-package'}, 'numpy': {'PACKAGE': 'numpy'}}
    entries = [{**entry, **place, 'TAG': tag} for tag, place in places.items()]
    path = tmp_path / 'net.yaml'
    path.write_text(yaml.safe_dump({'BASE': ['mobilenet_v2_x0_35'], 'PUBLISHED': {'WEIGHTS': entries}}))
    cfg = ic.get_config(path)
    monkeypatch.setattr('image_classification.models.list_models', lambda pattern: ['net'])
    monkeypatch.setattr('image_classification.models.get_config', lambda name: cfg)
    assert ic.list_pretrained() == [('net', tag) for tag in places]
    assert ic.list_pretrained(reachable=True) == [('net', 'there'), ('net', 'numpy')]
    server.replies = [status(200, Content_Type='text/html')]
    assert ic.list_pretrained(reachable=True) == [('net', 'numpy')]
    server.asked.clear()
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', '1')
    assert ic.list_pretrained(reachable=True) == [('net', 'numpy')] and not server.asked
