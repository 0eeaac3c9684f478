from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest

from image_classification.deploy import engines, inference
from image_classification.deploy.engines import open_engine, paddle_inference
from image_classification.deploy.engines.eager import Eager
from image_classification.deploy.export_directory import ExportDirectory
from image_classification.deploy.static import Deployed
from image_classification.errors import UserError
from tests.exports import FOR_COMPUTERS, needs_onnx

from .conftest import SIZE


def touch(directory, *names):
    for name in names:
        (directory / name).touch()


@pytest.mark.parametrize('files, expected', [
    ([], []),
    (['inference.json'], []),                                      # without its weights
    (['inference.json', 'inference.pdiparams'], ['paddle_inference']),
    (['inference.pdmodel', 'inference.pdiparams', 'inference.onnx'], ['paddle_inference', 'onnxruntime']),
    (['inference.xml'], []),
    (['inference.bin', 'inference.xml'], ['openvino']),
])
def test_the_files_say_which_engines_an_export_is_for(tmp_path, files, expected):
    touch(tmp_path, *files)
    assert engines.engines_of(tmp_path) == expected


def test_paddle_inference_is_always_available():
    assert 'paddle_inference' in engines.available() and set(engines.available()) <= set(engines.ENGINES)


def test_the_fastest_engine_that_is_here_is_taken(tmp_path, monkeypatch):
    touch(tmp_path, 'inference.json', 'inference.pdiparams', 'inference.onnx')
    opened = []
    monkeypatch.setattr(engines.choice, '_CLASSES', {name: lambda *_, name=name: opened.append(name) for name in engines.ENGINES})
    monkeypatch.setattr(engines.choice, 'available', lambda: ['paddle_inference', 'onnxruntime'])
    open_engine(tmp_path)
    monkeypatch.setattr(engines.choice, 'available', lambda: ['paddle_inference'])
    open_engine(tmp_path)
    assert opened == ['onnxruntime', 'paddle_inference']


@pytest.mark.parametrize('files, engine, words', [
    ([], None, 'no complete export; wanted one of: inference.json .* by tools/export.py'),
    (['inference.onnx'], 'tensorrt', "engine is 'tensorrt'; wanted one of paddle_inference, onnxruntime, openvino"),
    (['inference.onnx'], 'openvino', 'for onnxruntime; openvino needs inference.xml . inference.bin.* --format openvino'),
    (['inference.onnx'], 'litert', 'for onnxruntime; litert needs inference.tflite.* --format tflite'),
    (['inference.onnx'], 'onnxruntime', r"not installed. Install it, in the clone .*: pip install -e '.\[onnx\]'"),
    (['inference.xml', 'inference.bin'], None, r'is for openvino, and openvino is not installed.*\[openvino\]'),
])
def test_what_cannot_be_opened_is_said(tmp_path, monkeypatch, files, engine, words):
    touch(tmp_path, *files)
    monkeypatch.setattr(engines.choice, 'available', lambda: ['paddle_inference'])
    with pytest.raises(UserError, match=words):
        open_engine(tmp_path, engine)


def test_an_export_for_paddle_alone_says_what_installs_paddle(tmp_path, monkeypatch):
    touch(tmp_path, 'inference.json', 'inference.pdiparams')
    monkeypatch.setattr(engines.choice, 'available', lambda: [])
    with pytest.raises(UserError, match=r"paddle_inference is not installed. Install it.*'\.\[cpu\]'"):
        open_engine(tmp_path)


@pytest.mark.parametrize('files', [['inference.json', 'inference.pdiparams'], ['inference.onnx'],
                                   ['inference.xml', 'inference.bin']])
def test_damaged_files_are_named(tmp_path, files):
    touch(tmp_path, *files)
    [engine] = engines.engines_of(tmp_path)
    if engine not in engines.available():
        pytest.skip(f'{engine} is not installed')
    with pytest.raises(UserError, match=f'{engine} cannot read .*export the model again'):
        open_engine(tmp_path)


@pytest.mark.parametrize('bad', [np.zeros((1, 3, SIZE, SIZE)), np.zeros((3, SIZE, SIZE), np.float32),
                                 np.zeros((1, 3, SIZE, SIZE), np.uint8)])
def test_images_of_another_kind_are_refused(small, small_exports, bad):
    directory = small_exports['paddle']
    with pytest.raises(UserError, match=f'do not fit {directory}; wanted NCHW of float32'):
        open_engine(directory).run(bad)
    with pytest.raises(UserError, match='do not fit mobilenet_v1_x0_25; wanted NCHW of float32'):
        Eager(small).run(bad)


@pytest.mark.parametrize('engine', ['paddle', *FOR_COMPUTERS])
def test_each_engine_gives_the_networks_logits_to_several_threads_at_any_batch_and_size(small, small_exports, engine):
    rng, shapes = np.random.default_rng(3), [(1, 3, SIZE, SIZE), (5, 3, 96, 160), (2, 3, SIZE, 96)]
    batches = [rng.standard_normal(shape, np.float32) for shape in shapes]
    with paddle.no_grad():
        expected = [Deployed(small)(paddle.to_tensor(batch)).numpy() for batch in batches]
    small.eval()
    opened = Eager(small) if engine == 'paddle' else open_engine(small_exports['float32'], engine)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(opened.run, 8 * batches))
    small.train()
    for [output], wanted in zip(found, 8 * expected):
        np.testing.assert_allclose(output, wanted, atol=1e-4 * wanted.std(), rtol=0)
    names = ['fetch_name_0'] if engine == 'paddle_inference' else ['logits']
    assert (opened.name, opened.outputs, opened.input) == (engine, names, {'dtype': 'float32', 'layout': 'NCHW'})


@pytest.mark.parametrize('engine', FOR_COMPUTERS)
def test_an_engine_takes_a_number_of_threads(small_exports, engine):
    images = np.ones((2, 3, SIZE, SIZE), np.float32)
    one, two = (open_engine(small_exports['float32'], engine, threads=threads) for threads in (1, 2))
    np.testing.assert_allclose(one.run(images)[0], two.run(images)[0], atol=1e-5)


@needs_onnx
def test_onnx_runtime_has_no_bfloat16(small_exports):
    with pytest.raises(UserError, match='onnxruntime does not compute in bfloat16 on a CPU; wanted openvino or paddle_inference'):
        open_engine(small_exports['float32'], 'onnxruntime', bf16=True)


@pytest.mark.parametrize('onednn', [False, True, 'convolutions', None])
def test_paddle_inference_runs_with_all_that_onednn_has_with_convolutions_and_without(small, small_exports, onednn):
    images = np.random.default_rng(7).standard_normal((2, 3, 96, SIZE), np.float32)
    with paddle.no_grad():
        expected = Deployed(small)(paddle.to_tensor(images)).numpy()
    [found] = inference.run(inference.create_predictor(small_exports['paddle'], onednn), images)
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std(), rtol=0)


def test_a_paddle_without_the_passes_of_convolutions_gives_onednn_all_operators(small_exports, monkeypatch):
    images = np.ones([1, 3, SIZE, SIZE], np.float32)
    expected = inference.run(inference.create_predictor(small_exports['paddle'], True), images)
    monkeypatch.setattr(paddle_inference, '_ONLY_CONVOLUTIONS', ['of_another_version_pass'])
    found = inference.run(inference.create_predictor(small_exports['paddle'], 'convolutions'), images)
    np.testing.assert_array_equal(found, expected)


def test_only_a_first_run_is_told_to_keep_its_maps(small_exports):
    flag, images = 'FLAGS_eager_delete_tensor_gb', np.ones([2, 3, SIZE, SIZE], np.float32)
    before, seen = paddle.get_flags(flag), []
    with paddle_inference.maps_kept():
        seen.append(paddle.get_flags(flag)[flag])
    engine = paddle_inference.PaddleInference(ExportDirectory(small_exports['paddle']), 1, onednn='convolutions')
    expected = engine.run(images)
    with ThreadPoolExecutor(2) as pool:                            # each thread has its own predictor
        for found in pool.map(engine.run, [images] * 4):
            np.testing.assert_array_equal(found, expected)
    assert seen == [-1.0] and paddle.get_flags(flag) == before


def test_paddle_inference_says_which_files_it_lacks(tmp_path):
    with pytest.raises(UserError, match='no complete export for Paddle Inference; export the model again'):
        inference.create_predictor(tmp_path)
