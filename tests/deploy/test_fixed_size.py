"""Exports of one picture of one size, for programs that want nothing free."""
import numpy as np
import paddle
import pytest
import yaml

from image_classification.datasets import Preprocess
from image_classification.deploy.engines import open_engine
from image_classification.deploy.export import export_model
from image_classification.deploy.predictor import Predictor
from image_classification.deploy.static import Deployed
from image_classification.errors import UserError
from tests.exports import CLASSES, SIZE, children_in_process

onnx = pytest.importorskip('onnx', reason="pip install -e '.[test]'")
pytest.importorskip('paddle2onnx', reason="pip install -e '.[test]'")


@pytest.fixture(scope='module')
def fixed(small, tmp_path_factory):
    directory = tmp_path_factory.mktemp('fixed') / 'export'
    with children_in_process():
        assert list(export_model(small, directory, CLASSES, 'paddle,triton', fixed_size=True)) == [1]
    return directory


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(3).standard_normal((3, 3, SIZE, SIZE), np.float32)


@pytest.fixture(scope='module')
def expected(small, images):
    with paddle.no_grad():
        return Deployed(small)(paddle.to_tensor(images)).numpy()


def shapes(values):
    return [[entry.dim_value for entry in value.type.tensor_type.shape.dim] for value in values]


def test_all_dimensions_are_numbers_and_inference_yaml_says_so(fixed):
    graph = onnx.load(str(fixed / 'inference.onnx')).graph
    assert shapes(graph.input) == [[1, 3, SIZE, SIZE]] and shapes(graph.output) == [[1, 5]]
    given = yaml.safe_load((fixed / 'inference.yaml').read_text(encoding='utf-8'))['input']
    assert (given['batch'], given['free_size'], given['image_size']) == (1, False, SIZE)


@pytest.mark.parametrize('engine', ['paddle_inference', 'onnxruntime'])
def test_batches_go_through_it_one_picture_after_the_other(fixed, images, expected, engine):
    opened = open_engine(fixed, engine)
    for count in (3, 1, 0):
        [found] = opened.run(images[:count])
        np.testing.assert_allclose(found, expected[:count], atol=1e-4 * expected.std(), rtol=0)
    with pytest.raises(UserError, match=f'images of 96 x {SIZE} pixels do not fit .* fixed; wanted {SIZE} x {SIZE}'):
        opened.run(np.zeros((1, 3, 96, SIZE), np.float32))


def test_a_predictor_takes_any_number_of_pictures(fixed, small, pictures):
    predictor = Predictor(fixed)
    files = sorted(pictures.glob('*.png'))
    assert predictor.predict(files).shape == (12, 5) and predictor.preprocess == Preprocess.from_config(small.config)


def test_opencv_reads_it(fixed, images, expected):
    cv2 = pytest.importorskip('cv2', reason="pip install -e '.[opencv]'")
    network = cv2.dnn.readNetFromONNX(str(fixed / 'inference.onnx'))
    for image, wanted in zip(images, expected):
        network.setInput(image[None])
        np.testing.assert_allclose(network.forward()[0], wanted, atol=1e-4 * expected.std(), rtol=0)


def test_triton_collects_no_batches_for_it(fixed):
    text = next(fixed.glob('triton/*/config.pbtxt')).read_text(encoding='utf-8')
    assert 'max_batch_size: 0' in text and f'dims: [ 1, 3, {SIZE}, {SIZE} ]' in text and 'dynamic_batching' not in text
