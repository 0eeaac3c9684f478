import threading

import numpy as np
import pytest

from image_classification.deploy import engines
from image_classification.deploy.engines import open_engine
from image_classification.errors import UserError

from .conftest import SIZE


@pytest.fixture
def images():
    return np.random.default_rng(3).standard_normal((2, 3, SIZE, SIZE), np.float32)


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
    ([], None, 'no whole export; wanted one of: inference.json .* by tools/export.py'),
    (['inference.onnx'], 'tensorrt', "engine is 'tensorrt'; wanted one of paddle_inference, onnxruntime, openvino"),
    (['inference.onnx'], 'openvino', 'files for onnxruntime; for openvino it wants inference.xml . inference.bin'),
    (['inference.onnx'], 'onnxruntime', r"not installed. Install it, in the clone .*: pip install -e '.\[onnx\]'"),
    (['inference.xml', 'inference.bin'], None, r'is for openvino, and openvino is not installed.*\[openvino\]'),
])
def test_what_cannot_be_opened_is_said(tmp_path, monkeypatch, files, engine, words):
    touch(tmp_path, *files)
    monkeypatch.setattr(engines.choice, 'available', lambda: ['paddle_inference'])
    with pytest.raises(UserError, match=words):
        open_engine(tmp_path, engine)


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
def test_images_of_another_kind_are_refused(exported, bad):
    with pytest.raises(UserError, match='do not fit .*; wanted NCHW of float32'):
        open_engine(exported[0], 'paddle_inference').run(bad)


def test_several_threads_may_run_one_engine(exported, images):
    engine = open_engine(exported[0], 'paddle_inference')
    batches = [images + i for i in range(8)]
    expected, found = [engine.run(batch)[0] for batch in batches], {}

    def work(first):
        for _ in range(3):
            for i in range(first, 8, 4):
                found[i] = engine.run(batches[i])[0]
    threads = [threading.Thread(target=work, args=[i]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(found[i], expected[i], atol=1e-5) for i in range(8))


def test_an_engine_says_its_outputs_and_takes_a_number_of_threads(exported, images):
    one, two = (open_engine(exported[0], 'paddle_inference', threads=threads) for threads in (1, 2))
    assert one.name == 'paddle_inference' and one.outputs == ['fetch_name_0']
    np.testing.assert_allclose(one.run(images)[0], two.run(images)[0], atol=1e-5)
