"""Export for ONNX Runtime and OpenVINO."""
import json
import os
import sys

import numpy as np
import paddle
import pytest
import yaml
from PIL import Image

import image_classification as ic
from image_classification.datasets import Preprocess
from image_classification.deploy.formats import onnx_format
from image_classification.deploy.engines import open_engine
from image_classification.deploy.export import export_model
from image_classification.deploy.static import Deployed
from image_classification.errors import UserError

from .conftest import CLASSES, SIZE

onnx = pytest.importorskip('onnx')
pytest.importorskip('paddle2onnx')
pytest.importorskip('openvino')

OTHERS = ('onnxruntime', 'openvino')


@pytest.fixture
def both(small_exports):
    """`small` in three formats at once."""
    return small_exports['float32']


@pytest.fixture
def with_pixels(small_exports):
    return small_exports['uint8']


def description(directory):
    return yaml.safe_load((directory / 'inference.yaml').read_text(encoding='utf-8'))


def eager(model, images, softmax=False):
    with paddle.no_grad():
        outputs = Deployed(model, softmax)(paddle.to_tensor(images))
    return [output.numpy() for output in (outputs if isinstance(outputs, list) else [outputs])]


def test_the_directory_has_the_files_of_all_formats(both):
    assert sorted(path.name for path in both.iterdir()) == [
        'example.py', 'inference.bin', 'inference.json', 'inference.onnx', 'inference.pdiparams', 'inference.xml',
        'inference.yaml']


def test_inference_yaml_has_the_differences_of_each_engine(both):
    content = description(both)
    assert list(content['engines']) == ['paddle_inference', *OTHERS]
    for found in content['engines'].values():
        assert all(0 <= found['differences'][batch]['relative'] < 1e-4 for batch in (1, 3))
    for batch in (1, 3):
        assert content['differences'][batch]['relative'] == max(
            found['differences'][batch]['relative'] for found in content['engines'].values())


@pytest.mark.parametrize('engine', OTHERS)
def test_the_outputs_say_what_they_are(both, with_pixels, engine):
    assert open_engine(both, engine).outputs == description(both)['engines'][engine]['outputs'] == ['logits']
    assert open_engine(with_pixels, engine).outputs == ['probabilities']


def test_the_onnx_file_says_what_inference_yaml_says(both):
    content, model = description(both), onnx.load(both / 'inference.onnx')
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata['class_names'] == CLASSES
    assert Preprocess.from_dict(metadata['preprocessing']) == Preprocess.from_dict(content['preprocessing'])
    assert all(metadata[key] == content[key] for key in ('name', 'type', 'input', 'versions', 'model', 'weights'))


def test_the_onnx_graph_is_standard_and_names_its_free_dimensions(both):
    model = onnx.load(both / 'inference.onnx')
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [('', onnx_format.OPSET)]
    assert {node.domain for node in model.graph.node} == {''}
    [image] = model.graph.input
    dims = [entry.dim_param or entry.dim_value for entry in image.type.tensor_type.shape.dim]
    assert (image.name, dims) == ('image', ['batch', 3, 'height', 'width'])


def test_the_onnx_graph_is_folded(both):
    nodes = description(both)['onnx']['nodes']
    kinds = [node.op_type for node in onnx.load(both / 'inference.onnx').graph.node]
    assert nodes['folded'] == len(kinds) < nodes['converted'] / 2
    assert not {'Identity', 'Constant', 'Dropout', 'BatchNormalization'}.intersection(kinds)


@pytest.mark.parametrize('engine', ('paddle_inference', *OTHERS))
def test_with_preprocessing_inside_it_takes_pixels(small, with_pixels, engine):
    pixels = np.random.default_rng(7).integers(0, 256, (2, 96, SIZE, 3), np.uint8)
    preprocess = Preprocess.from_config(small.config)
    [expected] = eager(small, np.stack([preprocess.to_input(Image.fromarray(image)) for image in pixels]), softmax=True)
    opened = open_engine(with_pixels, engine)
    assert opened.input == {'dtype': 'uint8', 'layout': 'NHWC'}
    np.testing.assert_allclose(opened.run(pixels)[0], expected, atol=1e-4 * expected.std(), rtol=0)
    with pytest.raises(UserError, match='wanted NHWC of uint8'):
        opened.run(pixels.transpose(0, 3, 1, 2).astype(np.float32))


@pytest.mark.parametrize('overrides', [{'MODEL.IN_CHANNELS': 1}, {'MODEL.IN_CHANNELS': 4, 'DATA.COLOR_ORDER': 'BGR'}])
def test_other_channels_and_orders_of_colours_are_preprocessed_inside_too(quick, tmp_path, overrides):
    channels = overrides['MODEL.IN_CHANNELS']
    mean, std = ([0.1 * (i + 1) for i in range(channels)] for _ in range(2))
    cfg = ic.get_config('mobilenet_v1_x0_25', {
        'DATA.IMAGE_SIZE': 32, 'MODEL.NUM_CLASSES': 5, 'DATA.IMAGENET_MEAN': mean, 'DATA.IMAGENET_STD': std, **overrides})
    export_model(ic.create_model(cfg), tmp_path / 'export', format='onnx', pixels=True)   # which compares with the network
    assert open_engine(tmp_path / 'export').run(np.ones((2, 40, 32, channels), np.uint8))[0].shape == (2, 5)


def test_feature_maps_keep_their_order_and_get_names(quick, tmp_path):
    model = ic.create_model('mobilenet_v1_x0_25', features_only=True, out_indices=(1, 2, -1))
    export_model(model, tmp_path / 'export', format='onnx,openvino', image_size=64)
    images = np.random.default_rng(7).standard_normal((2, 3, 64, 96), np.float32)
    for engine in OTHERS:
        opened = open_engine(tmp_path / 'export', engine)
        assert opened.outputs == ['map_0', 'map_1', 'map_2']
        for found, wanted in zip(opened.run(images), eager(model, images)):
            np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.std(), rtol=0)


def test_nothing_is_installed_or_downloaded(tmp_path, monkeypatch):
    """paddle2onnx's own folding calls pip, and to import openvino reports that on the internet. Here every process of the
    export writes down the names that it looks up and the programs that it starts."""
    (tmp_path / 'sitecustomize.py').write_text(f'''
import sys
def report(event, arguments):
    if event in ('socket.connect', 'socket.getaddrinfo', 'subprocess.Popen', 'os.system'):
        with open({str(tmp_path / "report.txt")!r}, 'a') as file:
            print(event, arguments, file=file)
sys.addaudithook(report)
open({str(tmp_path / "started.txt")!r}, 'a').write('.')
''')
    (tmp_path / 'pip.py').write_text('raise SystemExit("pip was called")')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    export_model(ic.create_model('mobilenet_v1_x0_25'), tmp_path / 'export', format='onnx,openvino', image_size=64)
    assert len((tmp_path / 'started.txt').read_text()) == 2        # the writer and the engines
    found = (tmp_path / 'report.txt').read_text() if (tmp_path / 'report.txt').exists() else ''
    assert not [line for line in found.splitlines() if 'pip' in line or 'socket' in line]   # others: Paddle asks for the CPU


@pytest.mark.parametrize('format, missing, words', [
    ('onnx', 'paddle2onnx', r"--format onnx needs paddle2onnx, which is not installed. .*pip install -e '.\[onnx\]'"),
    ('openvino', 'openvino', r"--format openvino needs openvino, .*pip install -e '.\[openvino\]'"),
])
@pytest.mark.skipif(sys.version_info >= (3, 13), reason='says that there is no paddle2onnx for it')
def test_a_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch, format, missing, words):
    monkeypatch.setattr(onnx_format, 'find_spec', lambda name: name != missing)
    with pytest.raises(UserError, match=words):
        export_model(ic.create_model('mobilenet_v1_x0_25'), tmp_path / 'export', format=format)
    assert not any(tmp_path.iterdir())
