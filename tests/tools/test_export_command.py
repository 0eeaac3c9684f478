import os
import re
import shlex

import numpy as np
import pytest

import image_classification as ic
from image_classification.checkpoint import write_network
from image_classification.deploy import export
from image_classification.deploy.predictor import Predictor
from image_classification.weights import to_torch, write_safetensors
from tests.exports import CLASSES
from tests.tools.conftest import load_tool


@pytest.fixture
def weights(network, tmp_path):
    path = tmp_path / 'weights.safetensors'
    write_safetensors(path, {name: tensor.numpy() for name, tensor in network.state_dict().items()}, {})
    return path


def failure(done):
    """The only line that a failed tool prints."""
    assert done.returncode == 1 and 'Traceback' not in done.stderr and done.stdout == ''
    [line] = done.stderr.splitlines()
    return line


def test_a_checkpoint_is_exported_beside_itself(exported):
    done, directory = exported
    assert sorted(path.name for path in directory.iterdir()) == ['inference.json', 'inference.pdiparams', 'inference.yaml']
    assert Predictor(directory).class_names == CLASSES


def test_it_prints_the_files_and_the_differences_at_both_batches(exported):
    done, directory = exported
    assert done.stderr == ''
    assert all(str(path) in done.stdout for path in directory.iterdir())
    assert re.findall(r'^batch (\d): largest difference from the network \d\.\de[-+]\d+', done.stdout, re.M) == ['1', '3']


def test_the_command_that_it_prints_classifies_an_image(exported, pictures, run_tool):
    [line] = [line for line in exported[0].stdout.splitlines() if line.startswith('classify an image: ')]
    python, script, directory, image = shlex.split(line.removeprefix('classify an image: '))
    assert script.endswith('predict.py') and directory == str(exported[1]) and image == 'IMAGE'
    done = run_tool('predict.py', directory, pictures / 'picture 1.png')
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 6


def test_a_model_by_name_is_exported_with_its_weights_to_where_one_says(weights, tmp_path, run_tool):
    done = run_tool('export.py', '--model', 'mobilenet_v1_x0_25', '--num-classes', 5, '--weights', weights, '--softmax',
                    '--image-size', 64, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'export' / 'mobilenet_v1_x0_25' / 'inference.json').is_file()


def test_several_formats_and_preprocessing_inside_are_reported(run_tool, tmp_path):
    pytest.importorskip('paddle2onnx')
    done = run_tool('export.py', '--model', 'mobilenet_v1_x0_25', '--image-size', 64, '--format', 'lite,onnx',
                    '--preprocess', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r'^ONNX opset 17: \d+ nodes, \d+ when folded; for ONNX Runtime\b', done.stdout, re.M)
    found = re.findall(r'^(\w+): \d\.\de-\d\d at batch 1$', done.stdout, re.M)
    assert [engine for engine in found if engine != 'paddlelite'] == ['paddle_inference', 'onnxruntime']
    directory = tmp_path / 'export' / 'mobilenet_v1_x0_25'
    assert f'for Paddle-Lite: cd {directory.relative_to(tmp_path)} && paddle_lite_opt ' in done.stdout
    assert 'input: uint8 NHWC, 64 x 64 pixels, no other size, one picture at a time' in done.stdout


def test_feature_maps_of_a_checkpoint_are_exported_beside_it_and_listed(checkpoint, run_tool):
    done = run_tool('export.py', checkpoint, '--features', '1,2,-1')
    assert done.returncode == 0, done.stderr
    assert (checkpoint.parent / 'export_features' / 'inference.json').is_file()
    assert re.findall(r'^output \d: .*', done.stdout, re.M) == [
        'output 0: fetch_name_0 [-1, 32, 16, 16], stride 4', 'output 1: fetch_name_1 [-1, 64, 8, 8], stride 8',
        'output 2: fetch_name_2 [-1, 256, 2, 2], stride 32']
    assert 'classify an image' not in done.stdout


def test_a_detector_needs_no_flag(run_tool, tmp_path):
    done = run_tool('export.py', '--model', 'blazeface_front', cwd=tmp_path)
    assert re.findall(r'^output \d: .*', done.stdout, re.M) == ['output 0: fetch_name_0 [-1, 896, 16]',
                                                               'output 1: fetch_name_1 [-1, 896, 1]']


def test_all_levels_are_given_where_none_are_named(run_tool, tmp_path):
    done = run_tool('export.py', '--model', 'blazeface', '--features', cwd=tmp_path)
    assert len(re.findall(r'^output \d: .* stride (?:8|16)$', done.stdout, re.M)) == 2
    assert (tmp_path / 'export' / 'blazeface_features' / 'inference.yaml').is_file()


@pytest.mark.parametrize('arguments, words', [
    ([], 'wanted either a checkpoint or the name of a network'),
    (['missing.safetensors'], 'no checkpoint at missing.safetensors'),
    (['--model', 'mobileformer_27m'], 'Did you mean mobileformer_'),
    (['--features', 'best.safetensors'], "--features has 'best.safetensors'; wanted numbers of levels"),
])
def test_bad_arguments_get_one_line(run_tool, tmp_path, arguments, words):
    assert words in failure(run_tool('export.py', *arguments, cwd=tmp_path))


def test_it_refuses_to_overwrite(exported, checkpoint, run_tool):
    line = failure(run_tool('export.py', checkpoint))
    assert 'not empty; an export never overwrites' in line and line.endswith('or replace it with --force.')


def test_by_force_it_replaces_an_export_and_nothing_else(run_tool, checkpoint, tmp_path, monkeypatch):
    target, arguments = tmp_path / 'export', (checkpoint, '--output', tmp_path / 'export', '--force')
    monkeypatch.setattr(export, '_write_verified', lambda order, directory: directory.write({'now': 1}) or {})
    monkeypatch.setattr(load_tool('export'), 'report', lambda *_: None)
    target.mkdir()
    (target / 'inference.yaml').write_text('name: before')
    (target / 'notes.txt').write_text('mine')
    assert 'holds notes.txt, which no export has written, so it is not replaced' in failure(run_tool('export.py', *arguments))
    (target / 'notes.txt').unlink()
    assert run_tool('export.py', *arguments).returncode == 0
    assert (target / 'inference.yaml').read_text() == '{now: 1}\n' and os.listdir(tmp_path) == ['export']
    (target / 'inference.yaml').rename(target / 'inference.json')
    assert 'has no inference.yaml: no export has written it' in failure(run_tool('export.py', *arguments))


@pytest.fixture
def spoilt(network, tmp_path):
    """A checkpoint whose classifier is NaN."""
    bias = network.classifier.bias
    before = bias.numpy()
    bias.set_value(np.full_like(before, np.nan))
    write_network(tmp_path / 'best.safetensors', network, network.config, CLASSES)
    bias.set_value(before)
    return tmp_path / 'best.safetensors'


def test_what_is_nan_is_neither_exported_nor_believed(run_tool, spoilt, pictures):
    line = failure(run_tool('export.py', spoilt))
    assert 'gives NaN or infinite numbers: its weights are spoilt' in line and os.listdir(spoilt.parent) == [spoilt.name]
    done = run_tool('predict.py', spoilt, pictures)
    assert done.returncode == 1 and '(paddle) gives NaN or infinite numbers for 12 of 12 pictures' in done.stderr
    done = run_tool('explain.py', spoilt, pictures / 'picture 1.png', '--output', spoilt.parent / 'why')
    assert done.returncode == 1 and 'gives NaN or infinite logits' in done.stderr and not os.listdir(spoilt.parent / 'why')
    done = run_tool('serve.py', spoilt, '--port', 0)
    assert done.returncode == 1 and 'gives NaN or infinite numbers for 1 of 1 pictures' in done.stderr


def test_a_checkpoint_behind_a_name_keeps_its_classes_and_its_size(checkpoint):
    tool = load_tool('export')
    model, class_names, directory = tool.load(tool.parse([f'mobilenet_v1_x0_25={checkpoint}', '--fixed-size']))
    assert class_names == CLASSES and model.config.DATA.IMAGE_SIZE == 64 and directory.name == 'mobilenet_v1_x0_25'
    with pytest.raises(ic.UserError, match='a checkpoint of 5 classes, not of 9'):
        tool.load(tool.parse([f'mobilenet_v1_x0_25={checkpoint}', '--num-classes', '9']))


def test_weights_without_an_auxiliary_head_are_exported_all_the_same(tmp_path):
    model = ic.create_model('inception_v3')
    state = {key: value for key, value in to_torch(model, 'timm').items() if not key.startswith('AuxLogits.')}
    write_safetensors(tmp_path / 'timm.safetensors', state, {})
    weights = str(tmp_path / 'timm.safetensors')
    tool = load_tool('export')
    with pytest.warns(UserWarning, match='lack AuxLogits'):
        loaded, _, _ = tool.load(tool.parse(['--model', 'inception_v3', '--weights', weights]))
    assert (loaded.fc.weight == model.fc.weight).all()
