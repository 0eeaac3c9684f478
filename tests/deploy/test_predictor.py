import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest
from PIL import Image

import image_classification as ic
from image_classification.datasets import get_dataset
from image_classification.datasets.images import open_image
from image_classification.deploy import engines
from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError
from image_classification.layers import FeatureExtractor

from tests.exports import FOR_COMPUTERS, needs_onnx

from .conftest import CLASSES, SIZE


@pytest.fixture(scope='module')
def predictor(small_checkpoint):
    return Predictor(small_checkpoint, batch_size=5)


@pytest.fixture
def files(pictures):
    return sorted(pictures.iterdir())


def test_a_checkpoint_gives_the_softmax_of_the_networks_logits(small, predictor, files):
    small.eval()
    images = np.stack([predictor.preprocess(open_image(file)) for file in files])
    with paddle.no_grad():
        expected = paddle.nn.functional.softmax(small(paddle.to_tensor(images))).numpy()
    small.train()
    np.testing.assert_allclose(predictor.predict(files), expected, atol=1e-5)


@pytest.mark.parametrize('engine', FOR_COMPUTERS)
@pytest.mark.parametrize('dtype', ['float32', 'uint8'])            # uint8: with preprocessing and softmax inside
def test_every_engine_gives_the_same_as_the_checkpoint_to_several_threads_at_once(predictor, small_exports, files, engine, dtype):
    one = Predictor(small_exports[dtype], engine, batch_size=5, threads=1, warm_up=True)
    assert one.engine == engine and one.prepare(files[0]).dtype == dtype and one.network is None
    expected = predictor.predict(files)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: one.predict(files), range(4)):
            assert found.shape == (12, 5) and found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=2e-5)     # 1.2e-5 in OpenVINO on a processor with AVX-512
            np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_a_network_is_predicted_with_as_its_checkpoint(small, predictor, files):
    one = Predictor.of_network(small, CLASSES, batch_size=7)
    assert (one.name, one.engine, one.network, one.class_names) == (small.config.MODEL.NAME, 'paddle', small, CLASSES)
    assert not small.training and one.batch_size == 7
    np.testing.assert_allclose(one.predict(files), predictor.predict(files), atol=1e-5)
    small.train()


def test_it_knows_name_classes_and_preprocessing(predictor, small_exports):
    directory = small_exports['paddle']
    for other in (predictor, Predictor(directory), Predictor(directory / 'inference.yaml')):
        assert (other.name, other.class_names, other.preprocess.image_size) == ('mobilenet_v1_x0_25', CLASSES, SIZE)
        assert other.preprocess == predictor.preprocess


def test_without_class_names_the_classes_are_numbered(small_exports):
    assert Predictor(small_exports['uint8']).class_names == ['0', '1', '2', '3', '4']


def test_paths_pictures_and_arrays_mean_the_same(predictor, files):
    rgb = [open_image(file) for file in files[:3]]
    expected = predictor.predict(files[:3])
    for images in ([str(file) for file in files[:3]], rgb, map(np.asarray, rgb), [file.read_bytes() for file in files[:3]]):
        np.testing.assert_array_equal(predictor.predict(images), expected)


def test_grey_arrays_are_read_with_and_without_their_channel(predictor):
    grey = np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8)
    a, b, c = predictor.predict([grey, grey[:, :, None], Image.fromarray(grey)])
    assert (a == b).all() and (a == c).all()


def test_one_image_counts_as_a_list_of_one(predictor, files):
    for image in (files[0], str(files[0]), files[0].read_bytes(), open_image(files[0]), np.asarray(open_image(files[0]))):
        assert predictor.predict(image).shape == (1, 5)


def test_no_images_give_no_rows(predictor):
    assert predictor.predict([]).shape == (0, 5)


@pytest.mark.parametrize('image, words', [
    (np.zeros((4, 4, 3)), 'uint8'), (np.zeros((2, 4, 4, 3), np.uint8), 'is no image'), (7, 'a int is no image'),
    ('missing.png', 'missing.png')])
def test_what_is_no_image_is_refused(predictor, image, words):
    with pytest.raises(UserError, match=words):
        predictor.predict([image])


def test_inputs_are_bit_for_bit_those_of_evaluation(small, predictor, colours):
    cfg = small.config.clone()
    cfg.defrost()
    cfg.merge_from_list(['DATA.DATASET', 'folder', 'DATA.DATA_PATH', str(colours), 'MODEL.NUM_CLASSES', 2])
    dataset = get_dataset(cfg, is_train=False)
    for index in range(len(dataset)):
        assert (predictor.prepare(dataset.path(index)) == dataset[index][0]).all()


def test_several_threads_may_use_a_checkpoint(predictor, files):
    expected = predictor.predict(files)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: predictor.predict(files), range(8)):
            np.testing.assert_array_equal(found, expected)


@needs_onnx
def test_auto_takes_the_first_engine_that_is_there_and_installed(small_exports, monkeypatch):
    assert Predictor(small_exports['float32']).engine == engines.FASTEST_FIRST[0]
    assert Predictor(small_exports['paddle']).engine == 'paddle_inference' == Predictor(small_exports['paddle'], 'inference').engine
    monkeypatch.setattr(engines.choice, 'available', lambda: ['paddle_inference', 'onnxruntime'])
    assert Predictor(small_exports['float32']).engine == 'onnxruntime'


def test_files_come_in_order_and_unreadable_ones_as_errors(predictor, files, tmp_path):
    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'no image')
    paths = [*files[:3], bad, *files[3:7], *[bad] * 6]             # batches of 5: mixed, mixed, all unreadable
    found = list(predictor.predict_files(paths))
    assert [path for path, _ in found] == paths
    assert [isinstance(result, UserError) for _, result in found] == [path == bad for path in paths]
    assert 'bad.png' in str(found[3][1])
    np.testing.assert_allclose(np.stack([result for path, result in found if path != bad]), predictor.predict(files[:7]),
                               atol=1e-5)


def test_files_are_read_a_batch_at_a_time(predictor, files):
    asked = []
    results = predictor.predict_files(asked.append(file) or file for file in files)
    next(results)
    assert len(asked) == 5


@pytest.mark.parametrize('workers', [1, 3])
def test_files_may_be_prepared_in_other_threads(predictor, files, tmp_path, workers):
    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'no image')
    names, threads = [*files, bad, *files[:3]], set()

    def prepare(path):
        threads.add(threading.current_thread().name)
        return predictor.prepare(path)
    found = list(predictor.predict_files(names, prepare, workers))
    assert [path for path, _ in found] == names and isinstance(found[12][1], UserError)
    np.testing.assert_allclose(np.stack([result for _, result in found[:12]]), predictor.predict(files), atol=1e-5)
    assert threading.current_thread().name not in threads and 1 <= len(threads) <= workers


def test_threads_prepare_no_more_than_the_next_batch_and_end_with_the_results(predictor, files):
    asked = []
    results = predictor.predict_files((asked.append(i) or files[i % 12] for i in range(1000)), workers=2)
    for _ in range(20):
        next(results)
    assert len(asked) <= 20 + 2 * 5 + 1
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith('prepare')]


def test_1000_classes_without_names_are_imagenets():
    predictor = Predictor.of_network(ic.create_model('mobilenet_v1_x0_25'))
    assert predictor.class_names[207] == 'golden retriever'
    assert predictor.top_k(np.eye(1000, dtype=np.float32)[817], 1) == [('sports car', 1.0)]


def test_top_k_gives_the_best_classes_first(predictor):
    probabilities = np.array([0.1, 0.2, 0.4, 0.2, 0.1], np.float32)
    assert [name for name, _ in predictor.top_k(probabilities, 3)] == ['数字', 'Müller, "Anna"', 'e']
    assert predictor.top_k(probabilities, 1)[0][1] == pytest.approx(0.4)
    assert len(predictor.top_k(probabilities, 99)) == 5


def test_an_engine_that_does_not_fit_is_refused(small_checkpoint, small_exports):
    checkpoint, directory = small_checkpoint, small_exports['paddle']
    with pytest.raises(UserError, match="is a checkpoint, which the engine 'inference' does not run"):
        Predictor(checkpoint, engine='inference')
    with pytest.raises(UserError, match="is an export, which the engine 'paddle' does not run"):
        Predictor(directory, engine='paddle')
    with pytest.raises(UserError, match="engine is 'onnx'; wanted one of auto, paddle, inference"):
        Predictor(checkpoint, engine='onnx')
    with pytest.raises(UserError, match='batch size is 0'):
        Predictor(checkpoint, batch_size=0)
    with pytest.raises(UserError, match='number of threads is 0'):
        Predictor(directory, threads=0)
    for threads in (100_000, -1, 2.5, float('nan')):               # of 100,000 an engine would end the process
        with pytest.raises(UserError, match=f'number of threads is {threads}; wanted a whole number from 1 to '):
            Predictor(directory, threads=threads)
        with pytest.raises(UserError, match=f'number of threads is {threads}; wanted'):
            engines.open_engine(directory, threads=threads)
    with pytest.raises(UserError, match='is a checkpoint, which takes no threads or bf16'):
        Predictor(checkpoint, threads=2)


@pytest.mark.parametrize('name, content, words', [
    ('missing', None, 'does not exist; wanted a checkpoint'),
    ('notes.txt', b'hello', 'is something else; wanted a checkpoint'),
    ('foreign.safetensors', b'hello', 'damaged or no .safetensors'),
    ('empty/readme', b'', 'empty has no inference.yaml'),
    ('export/inference.yaml', b'name: x', "lacks or misstates 'preprocessing'"),
])
def test_what_is_neither_checkpoint_nor_export_is_refused(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        Predictor(path.parent if '/' in name else path)


def test_half_an_export_is_refused(small_exports, tmp_path):
    (tmp_path / 'inference.yaml').write_bytes((small_exports['paddle'] / 'inference.yaml').read_bytes())
    with pytest.raises(UserError, match='is no complete export; wanted one of: inference.json . inference.pdiparams'):
        Predictor(tmp_path)
    (tmp_path / 'inference.pdiparams').write_bytes(b'')
    (tmp_path / 'inference.json').write_bytes(b'{}')
    with pytest.raises(UserError, match='paddle_inference cannot read'):
        Predictor(tmp_path)


def test_of_a_network_it_wants_a_classifier_and_a_name_per_class(pictures):
    network = ic.create_model(ic.get_config('mobilenet_v1_x0_25', {'DATA.IMAGE_SIZE': 32}))
    network.reset_classifier(2)
    assert Predictor.of_network(network, ['a', 'b']).predict(pictures / 'picture 1.png').shape == (1, 2)
    with pytest.raises(UserError, match='3 class names for a network of 2 classes'):
        Predictor.of_network(network, ['a', 'b', 'c'])
    for other in (paddle.nn.Linear(1, 1), FeatureExtractor(network), None):
        with pytest.raises(UserError, match=f'Predictor.of_network got a {type(other).__name__}; wanted a classifier'):
            Predictor.of_network(other)
