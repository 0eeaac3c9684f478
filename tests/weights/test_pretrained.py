"""Published weights by tag, address or file: what create_model makes of them."""
import hashlib
import json

import numpy as np
import pytest
import yaml

import image_classification as ic
from image_classification.datasets import Preprocess, get_dataset
from image_classification.deploy.description import describe
from image_classification.engine.processes.distributed import Group
from image_classification.engine.trainer import train_or_evaluate
from image_classification.weights import to_torch, write_safetensors
from tests.download_server import answer
from tests.weights.conftest import NAME

PREPROCESSING = {'IMAGE_SIZE': 64, 'CROP_PCT': 0.5, 'INTERPOLATION': 'bicubic', 'IMAGENET_MEAN': [0.5], 'COLOR_ORDER': 'BGR'}


@pytest.fixture
def published(network, server, tmp_path):
    """Yaml of a network whose weights, tags `first` and `second`, are on a server in timm's names."""
    path = tmp_path / 'model.safetensors'
    write_safetensors(path, to_torch(network, 'timm'), {})
    content = path.read_bytes()
    server.replies = [lambda handler: answer(handler, 200, {'Content-Length': len(content)}, content)]
    entry = {'STYLE': 'timm', 'LICENCE': 'MIT', 'SOURCE': 'us', 'URL': f'{server.url}/first/model.safetensors',
             'SHA256': hashlib.sha256(content).hexdigest()[:8], 'DATA': PREPROCESSING}
    second = {**entry, 'TAG': 'second', 'URL': f'{server.url}/second/model.safetensors', 'DATA': {'CROP_PCT': 0.9}}
    text = yaml.safe_dump({'BASE': [NAME], 'MODEL': {'NUM_CLASSES': 2},
                           'PUBLISHED': {'WEIGHTS': [{**entry, 'TAG': 'first'}, second]}})
    config = tmp_path / 'published.yaml'
    config.write_text(text)
    return config


def same(model, network):
    return all((tensor == network.state_dict()[name]).all() for name, tensor in model.state_dict().items())


@pytest.mark.parametrize('pretrained, folder', [
    (True, 'first'), ('default', 'first'), ('first', 'first'), ('second', 'second')])
def test_a_tag_is_fetched_checked_and_loaded(published, network, server, pretrained, folder):
    assert same(ic.create_model(published, pretrained=pretrained), network)
    assert [path for path, _ in server.asked] == [f'/{folder}/model.safetensors']


def test_the_preprocessing_follows_the_weights_into_configuration_and_export(published):
    cfg = ic.create_model(published, pretrained='first').config
    assert {key: cfg.DATA[key] for key in PREPROCESSING} == PREPROCESSING
    description = describe(cfg, Preprocess.from_config(cfg), [], {}, pixels=False, free=True)
    stored = description['preprocessing']
    assert Preprocess.from_dict(stored) == Preprocess.from_config(cfg) and stored['color_order'] == 'BGR'
    assert (description['weights']['tag'], description['weights']['licence']) == ('first', 'MIT')


def test_a_configuration_that_builds_on_the_models_yaml_overrules_their_preprocessing(published, tmp_path):
    own = tmp_path / 'own.yaml'
    own.write_text(yaml.safe_dump({'BASE': [str(published)], 'DATA': {'IMAGE_SIZE': 96}, 'PRETRAINED': 'first'}))
    cfg = ic.get_config(own)
    assert (cfg.DATA.IMAGE_SIZE, cfg.DATA.CROP_PCT) == (96, 0.5)


def test_a_ready_configuration_takes_their_preprocessing_in_a_copy(published):
    cfg = ic.get_config(published)
    model = ic.create_model(cfg, pretrained='first')
    assert model.config.DATA.CROP_PCT == 0.5 and cfg.DATA.CROP_PCT == 0.875 and model.config.PRETRAINED == 'first'


def test_an_address_or_a_file_is_taken_in_any_key_style(published, network, server, tmp_path):
    assert same(ic.create_model(NAME, num_classes=2, pretrained=f'{server.url}/any/model.safetensors'), network)
    for style in ('', 'timm', 'paddle'):
        path = tmp_path / f'{style or "own"}.safetensors'
        write_safetensors(path, to_torch(network, style), {})
        assert same(ic.create_model(NAME, num_classes=2, pretrained=path), network)


def test_another_number_of_classes_keeps_the_new_classifier_and_says_so(published, network):
    with pytest.warns(UserWarning, match='classes than 7: classifier.1.weight, classifier.1.bias keep their fresh weights'):
        model = ic.create_model(published, pretrained='first', num_classes=7)
    assert model.classifier[1].weight.shape == [1280, 7]
    assert (model.features[0][0].weight == network.features[0][0].weight).all()


@pytest.mark.parametrize('channels', [1, 4])
def test_other_input_channels_adapt_the_first_convolution(published, network, channels):
    found = ic.create_model(published, pretrained='first', in_chans=channels).features[0][0].weight.numpy()
    weight = network.features[0][0].weight.numpy()
    wanted = weight.sum(1, keepdims=True) if channels == 1 else weight[:, [0, 1, 2, 0]] * 0.75
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_lists_every_models_tags():
    found = ic.list_pretrained('mobilenet_v3_*')
    assert found == sorted(found, key=lambda pair: pair[0]) and ('mobilenet_v3_small_x1_0', 'imagenet1k_v1') in found
    assert ic.list_pretrained('inception_v2') == []


def test_every_entry_of_every_model_is_complete():
    for name, tag in ic.list_pretrained():
        cfg = ic.get_config(name, {'PRETRAINED': tag})     # raises where a key is missing or strange
        Preprocess.from_config(cfg)                              # or where its preprocessing makes no sense
        tags = [entry['TAG'] for entry in cfg.PUBLISHED.WEIGHTS]
        assert len(tags) == len(set(tags))


@pytest.mark.parametrize('name, pretrained, message', [
    ('mobileformer_26m', True, 'nobody publishes ImageNet weights for mobileformer_26m'),
    ('mobilenet_v3_small_x1_0', 'imagenet1k_v9', "has no weights 'imagenet1k_v9'; wanted imagenet1k_v1,"),
    ('mobilenet_v3_small_x1_0', 'missing.pth', 'missing.pth')])
def test_what_does_not_exist_is_named(name, pretrained, message):
    with pytest.raises(ic.UserError, match=message):
        ic.create_model(name, pretrained=pretrained)


def test_an_incomplete_entry_is_named(published):
    content = yaml.safe_load(published.read_text())
    del content['PUBLISHED']['WEIGHTS'][0]['LICENCE']
    published.write_text(yaml.safe_dump(content))
    with pytest.raises(ic.UserError, match='wanted LICENCE, SOURCE, STYLE, TAG, URL'):
        ic.create_model(published, pretrained='second')


def test_a_converted_file_brings_its_preprocessing(network, tmp_path):
    path = tmp_path / 'converted.safetensors'
    write_safetensors(path, to_torch(network, 'paddle'), {'protocol': json.dumps(PREPROCESSING)})
    assert ic.create_model(NAME, num_classes=2, pretrained=path).config.DATA.CROP_PCT == 0.5


def test_evaluation_by_tag_uses_its_preprocessing(published, colours, tmp_path):
    cfg = ic.get_config(published, {'EVAL': True, 'PRETRAINED': 'first', 'DATA.DATASET': 'folder', 'DATA.NUM_WORKERS': 0,
                                    'DATA.DATA_PATH': str(colours), 'SAVE': str(tmp_path / 'output')})
    assert train_or_evaluate(cfg, Group())['images'] == 10
    assert get_dataset(cfg, is_train=False).preprocess.color_order == 'BGR'
