import importlib.util
from pathlib import Path

import pytest
from google.protobuf import text_format

from image_classification.deploy.export import export_model
from image_classification.deploy.formats.triton import write_repository
from image_classification.errors import UserError

from .conftest import CLASSES

onnx = pytest.importorskip('onnx', reason='its release that paddle2onnx needs is for Python below 3.13')


@pytest.fixture(scope='module')
def model_config():
    """Triton's own description of config.pbtxt, from its client; the rest of that package would want gRPC."""
    path = Path(importlib.util.find_spec('tritonclient').origin).parent / 'grpc' / 'model_config_pb2.py'
    spec = importlib.util.spec_from_file_location('model_config_pb2', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def parse(model_config):
    """parse(directory of a model): its ModelConfig; unknown or mistyped fields raise."""
    return lambda directory: text_format.Parse((directory / 'config.pbtxt').read_text(encoding='utf-8'), model_config.ModelConfig())


@pytest.fixture
def source(small_exports):
    return small_exports['float32']


def test_a_repository_has_the_layout_that_triton_documents(source, tmp_path):
    assert write_repository(source, tmp_path / 'models') == 'mobilenet_v1_x0_25'
    found = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / 'models').rglob('*') if path.is_file())
    assert found == [f'models/mobilenet_v1_x0_25/{name}' for name in ('1/model.onnx', 'config.pbtxt', 'labels.txt')]
    model = tmp_path / 'models' / 'mobilenet_v1_x0_25'
    assert (model / '1' / 'model.onnx').read_bytes() == (source / 'inference.onnx').read_bytes()
    assert (model / 'labels.txt').read_text(encoding='utf-8').splitlines() == CLASSES


def test_its_configuration_says_what_the_onnx_file_says(source, parse, model_config, tmp_path):
    write_repository(source, tmp_path / 'models', max_batch=8)
    config = parse(tmp_path / 'models' / 'mobilenet_v1_x0_25')
    graph = onnx.load(str(source / 'inference.onnx')).graph
    assert (config.name, config.backend, config.max_batch_size) == ('mobilenet_v1_x0_25', 'onnxruntime', 8)
    assert config.HasField('dynamic_batching') and config.dynamic_batching.max_queue_delay_microseconds == 2000
    [given], [output] = config.input, config.output
    assert given.name == graph.input[0].name and given.data_type == model_config.TYPE_FP32
    assert list(given.dims) == [3, -1, -1]
    assert output.name == graph.output[0].name and list(output.dims) == [5] and output.label_filename == 'labels.txt'


def test_pixels_as_input_and_classes_without_names_are_described(small_exports, parse, model_config, tmp_path):
    write_repository(small_exports['uint8'], tmp_path / 'models')
    config = parse(tmp_path / 'models' / 'mobilenet_v1_x0_25')
    assert config.input[0].data_type == model_config.TYPE_UINT8 and config.input[0].dims[-1] == 3
    assert config.output[0].label_filename == '' and not (tmp_path / 'models' / 'mobilenet_v1_x0_25' / 'labels.txt').exists()


def test_the_format_triton_writes_it_beside_the_onnx_file(small, quick, parse, tmp_path):
    export_model(small, tmp_path / 'export', CLASSES, 'triton')
    assert {path.name for path in (tmp_path / 'export').iterdir()} == {'example.py', 'inference.onnx', 'inference.yaml', 'triton'}
    assert list(parse(tmp_path / 'export' / 'triton' / 'mobilenet_v1_x0_25').output[0].dims) == [5]


def test_what_is_no_onnx_export_is_refused(small_exports, source, tmp_path):
    with pytest.raises(UserError, match='has no inference.onnx; wanted an export by tools/export.py --format onnx'):
        write_repository(small_exports['paddle'], tmp_path / 'models')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').touch()
    with pytest.raises(UserError, match='exists and is not empty'):
        write_repository(source, tmp_path / 'full')
