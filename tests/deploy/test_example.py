"""example.py beside an ONNX file: numpy, Pillow and ONNX Runtime, and what `Predictor` finds."""
import ast
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import image_classification as ic
from image_classification.deploy import Predictor
from image_classification.deploy.export import export_model
from tests.exports import children_in_process, needs_onnx

pytestmark = needs_onnx

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp('picture') / 'a.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope='module')
def classifier():
    model = ic.create_model('mobilenet_v1_x0_25', num_classes=4)
    for parameter in model.classifier.parameters():
        parameter.set_value(30 * parameter)                        # so that classes differ
    return model


@pytest.fixture(scope='module', params=[{}, {'pixels': True, 'softmax': True}], ids=['float32', 'pixels'])
def export(request, classifier, tmp_path_factory):
    directory = tmp_path_factory.mktemp('example') / 'export'
    with children_in_process():
        export_model(classifier, directory, ['a', 'b', 'ü', 'd'], format='onnx', image_size=64, **request.param)
    return directory


def test_the_example_finds_what_the_predictor_finds(export, picture, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['example.py', str(picture)])
    runpy.run_path(str(export / 'example.py'), run_name='__main__')
    predictor = Predictor(export / 'inference.onnx', 'onnxruntime')
    best = predictor.top_k(predictor.predict(picture)[0], 5)
    assert best[0][1] - best[-1][1] > 0.01
    found = [line.split('  ') for line in capsys.readouterr().out.splitlines()]
    assert [name for _, name in found] == [name for name, _ in best]
    assert [float(share) for share, _ in found] == pytest.approx([share for _, share in best], abs=2e-4)


def test_the_example_needs_numpy_pillow_and_onnx_runtime_only(export):
    text = (export / 'example.py').read_text(encoding='utf-8')
    imported = {name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert imported <= {'json', 'sys', 'pathlib', 'numpy', 'onnxruntime', 'PIL'}
    body = [line for line in text.partition('ImageOps\n\n')[2].splitlines() if line]
    assert len(body) <= 12 and max(map(len, body)) <= 128


WITHOUT = '''
import runpy, sys
sys.modules['paddle'] = None                                       # as if it were not installed
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition('/')[0])
runpy.run_path(sys.argv[0], run_name='__main__')
'''


def without_paddle(*arguments):
    return subprocess.run([sys.executable, '-c', WITHOUT, str(ROOT / 'tools/predict.py'), *map(str, arguments)], cwd=ROOT,
                          capture_output=True, text=True, timeout=100)


def test_an_export_runs_without_paddle(export, picture):
    """predict.py; serve.py opens its network alike."""
    result = without_paddle(export, picture, '--format', 'csv')
    predictor = Predictor(export)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1].split(',')[2] == predictor.top_k(predictor.predict(picture)[0], 1)[0][0]


@pytest.mark.parametrize('model', ['mobilenet_v1_x0_25', 'checkpoint.safetensors'])
def test_without_paddle_other_models_are_named(model, picture, tmp_path, monkeypatch):
    (tmp_path / 'checkpoint.safetensors').touch()
    monkeypatch.setitem(sys.modules, 'paddle', None)
    monkeypatch.chdir(tmp_path)
    from image_classification.deploy.by_name import open_predictor
    with pytest.raises(ic.UserError, match=f'{model}.* needs PaddlePaddle, which is not installed; wanted'):
        open_predictor(model)
