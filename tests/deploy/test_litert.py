"""Exports for LiteRT. Those that convert take TensorFlow's import of ten seconds, each in a process of its own:
PYTHONPATH=. python -m pytest -m slow tests/deploy/test_litert.py; all variants: tests/deploy/test_all_exports.py -k litert"""
from importlib.util import find_spec

import numpy as np
import paddle
import pytest
from PIL import Image

from image_classification.datasets import Preprocess
from image_classification.deploy import engines
from image_classification.deploy.child import run_child
from image_classification.deploy.engines import open_engine
from image_classification.deploy.export import export_model
from image_classification.deploy.export_directory import ExportDirectory
from image_classification.deploy.formats import tflite
from image_classification.deploy.predictor import Predictor
from image_classification.deploy.static import Deployed
from image_classification.errors import UserError
from tests.exports import CLASSES, SIZE

converts = pytest.mark.skipif(not all(map(find_spec, tflite.NEEDS)) or 'litert' not in engines.available(),
                              reason="pip install -e '.[tflite]'")


def content(dtype='float32', layout='NCHW', mean=(0.5,), std=(0.5,)):
    preprocess = Preprocess(32, 1.0, 'bilinear', mean, std)
    return {'name': 'net', 'input': {'dtype': dtype, 'layout': layout}, 'preprocessing': preprocess.to_dict()}


def test_the_guide_turns_pixels_into_what_the_network_takes_in_three_languages():
    text = tflite.guide(content(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0)))
    assert 'float32 (1, 32, 32, 3)' in text and all(f'```{language}\n' in text for language in ('kotlin', 'swift', 'cpp'))
    assert 'floatArrayOf(127.5f, 63.75f, 0.0f)' in text and 'allocateDirect(4 * 32 * 32 * 3)' in text
    assert 'intArrayOf(16, 8, 0)' in text


def test_the_guide_gives_pixels_as_they_are_where_the_network_takes_them():
    text = tflite.guide(content('uint8', 'NHWC'))
    assert 'uint8 (1, 32, 32, 3)' in text and '.toByte()' in text and 'typed_input_tensor<uint8_t>' in text
    assert 'mean' not in text


def test_a_missing_package_is_said_before_anything_is_made(small, tmp_path, monkeypatch):
    if find_spec('tensorflow'):
        monkeypatch.setattr(tflite, 'NEEDS', (*tflite.NEEDS, 'package_that_is_not_there'))
    with pytest.raises(UserError, match=r"--format tflite needs .*not installed. Install .*\[tflite\]"):
        export_model(small, tmp_path / 'export', format='tflite')
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def exports(small, tmp_path_factory):
    root = tmp_path_factory.mktemp('litert')
    export_model(small, root / 'float32', CLASSES, 'tflite')
    export_model(small, root / 'uint8', format='tflite', softmax=True, pixels=True)
    return root


@pytest.mark.slow
@converts
def test_the_directory_for_a_phone_has_run_and_agreed_in_litert(exports):
    directory = ExportDirectory(exports / 'float32')
    assert {path.name for path in directory.path.iterdir()} == {'inference.tflite', 'inference.yaml', 'README.md', 'labels.txt'}
    found = directory.read()
    assert found['engines']['litert']['differences'][1]['relative'] < 1e-3 and found['input']['batch'] == 1
    assert 'loadMappedFile(context, "inference.tflite")' in (directory / 'README.md').read_text(encoding='utf-8')


@pytest.mark.slow
@converts
def test_batches_go_through_it_one_picture_after_the_other(small, exports):
    images = np.random.default_rng(3).standard_normal((3, 3, SIZE, SIZE), np.float32)
    with paddle.no_grad():
        expected = Deployed(small)(paddle.to_tensor(images)).numpy()
    engine = open_engine(exports / 'float32', threads=1)
    [found] = engine.run(images)
    assert (engine.name, engine.outputs) == ('litert', ['logits'])
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.std(), rtol=0)


@pytest.mark.slow
@converts
@pytest.mark.parametrize('dtype', ['float32', 'uint8'])
def test_the_predictor_runs_it(predictor, exports, dtype):
    pictures = [Image.fromarray(np.random.default_rng(5).integers(0, 256, (50, 70, 3), np.uint8))]
    one = Predictor(exports / dtype)
    assert one.engine == 'litert'
    np.testing.assert_allclose(one.predict(pictures), predictor.predict(pictures), atol=1e-4)


@pytest.fixture(scope='module')
def predictor(small_checkpoint):
    return Predictor(small_checkpoint)


@pytest.mark.slow
@converts
@pytest.mark.parametrize('mode, places', [('nearest', 'asymmetric'), ('linear', 'half_pixel'), ('linear', 'align_corners')])
def test_maps_are_resized_as_in_onnx(tmp_path, mode, places):
    import onnx
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter
    node = onnx.helper.make_node('Resize', ['x', '', '', 'sizes'], ['y'], mode=mode, coordinate_transformation_mode=places,
                                 nearest_mode='floor')
    ends = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in (('x', [1, 2, 7, 5]), ('y', [1, 2, 14, 9]))]
    sizes = onnx.numpy_helper.from_array(np.array([1, 2, 14, 9], np.int64), 'sizes')
    model = onnx.helper.make_model(onnx.helper.make_graph([node], 'resize', ends[:1], ends[1:], [sizes]),
                                   opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, str(tmp_path / 'model.onnx'))
    assert not run_child('formats.tflite', str(tmp_path / 'model.onnx'), str(tmp_path / 'model.tflite'))
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 5), np.float32)
    [wanted] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {'x': x})
    engine = Interpreter(str(tmp_path / 'model.tflite'))
    engine.allocate_tensors()
    engine.set_tensor(engine.get_input_details()[0]['index'], x.transpose(0, 2, 3, 1))
    engine.invoke()
    np.testing.assert_allclose(engine.get_tensor(engine.get_output_details()[0]['index']), wanted, atol=1e-5)
