"""Every variant in every format, in half an hour: PYTHONPATH=. python -m pytest -m slow tests/deploy/test_all_exports.py"""
from importlib.util import find_spec

import paddle
import pytest
import yaml

import image_classification as ic
from image_classification.deploy import engines
from image_classification.deploy.export import export_model
from image_classification.deploy.formats import tflite
from image_classification.deploy.formats.onnx_format import NEEDS, missing

SMALLEST = {'inception_v2': 139, 'inception_v3': 139, 'inception_v4': 139, 'inception_resnet_v2': 139, 'xception': 139,
            'blazeface_front': 128, 'blazeface_back': 256}         # those that take no map of 96 x 96 pixels

pytestmark = [pytest.mark.slow, pytest.mark.parametrize('name', ic.list_models())]


@pytest.fixture
def model(name):
    """With running statistics that fit its weights; otherwise many would magnify rounding."""
    paddle.seed(0)
    network, size = ic.create_model(name), SMALLEST.get(name, 96)
    with paddle.no_grad():
        if hasattr(network, 'cls_token'):                          # untrained, it scores all tokens alike, and any may be kept
            network.cls_token.set_value(paddle.randn(network.cls_token.shape))
        for _ in range(3):
            network(paddle.randn([4, 3, size, size]))
    return network


def description(model, directory, formats, name):
    export_model(model, directory, format=formats, image_size=SMALLEST.get(name, 96), allow_unsupported=True)
    return yaml.safe_load((directory / 'inference.yaml').read_text(encoding='utf-8'))


def test_every_network_agrees_in_every_engine(model, name, tmp_path):
    formats = ['paddle', *(format for format in NEEDS if not missing(format))]
    content = description(model, tmp_path / 'export', formats, name)
    assert list(content['engines']) == engines.engines_of(tmp_path / 'export')
    assert set(content['engines']) == {'paddle_inference', 'onnxruntime', 'openvino'}.intersection(engines.available())
    assert all(found['differences'][batch]['relative'] < 1e-3 for found in content['engines'].values() for batch in (1, 3))
    assert content['input']['free_size']


def test_every_network_is_written_for_paddle_lite(model, name, tmp_path):
    content = description(model, tmp_path / 'export', 'lite', name)
    found = {'paddle_inference': True, 'paddlelite': content['lite']['converted']}     # by a Python 3.7, if one has the package
    assert set(content['engines']) == {engine for engine in found if found[engine]}
    assert all(entry['differences'][1]['relative'] < 1e-3 for entry in content['engines'].values())
    assert not content['lite']['unsupported_operators']


@pytest.mark.skipif(not all(map(find_spec, tflite.NEEDS)) or 'litert' not in engines.available(),
                    reason="pip install -e '.[tflite]'")
def test_every_network_agrees_in_litert(model, name, tmp_path):
    content = description(model, tmp_path / 'export', 'tflite', name)
    assert list(content['engines']) == ['litert'] and content['engines']['litert']['differences'][1]['relative'] < 1e-3
