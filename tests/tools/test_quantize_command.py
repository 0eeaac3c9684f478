import shutil
from functools import partial

import pytest

from image_classification.checkpoint import load_network
from image_classification.deploy.export import export_model
from image_classification.deploy.predictor import Predictor
from tests.exports import needs_onnx
from tests.tools.conftest import children_in_process, load_tool


@pytest.fixture
def call(call_tool):
    return partial(call_tool, load_tool('quantize'))


@pytest.fixture(scope='module')
def exported(trained, tmp_path_factory):
    """`trained` as an ONNX file."""
    pytest.importorskip('paddle2onnx')
    directory = tmp_path_factory.mktemp('quantize') / 'export'
    network, class_names = load_network(trained)
    with children_in_process():
        export_model(network, directory, class_names, 'onnx')
    return directory


@needs_onnx
def test_a_checkpoint_becomes_an_8_bit_export_with_a_table(call, trained, colours, tmp_path):
    target = tmp_path / 'int8'
    # One of the ten pictures is nearly a tie; processors round 8-bit sums differently.
    code, out, err = call(trained, '--data-path', colours, '--output', target, '--bf16', '--threads', 1, '--min-agreement', 0.9)
    assert code == 0, err
    lines = out.splitlines()
    assert [line.split(' | ')[1] for line in lines[:4:2]] == ['precision', 'float32'] and lines[3].startswith('| onnxruntime | int8 |')
    assert lines[4].startswith('the layers that lose most, signal to noise in dB: Conv')
    assert lines[5].startswith(f'written: {target};')
    assert Predictor(target).predict(next((colours / 'val' / 'red, warm').iterdir())).argmax() == 1


def test_pictures_of_a_folder_calibrate_instead_of_the_training_part(call, exported, colours, tmp_path):
    arguments = [exported, '--data-path', colours, '--output', tmp_path / 'int8', '--images', 4, '--calibration-images', 5]
    assert call(*arguments, '--calibrate', colours / 'val')[0] == 0
    description = (tmp_path / 'int8' / 'inference.yaml').read_text(encoding='utf-8')
    assert 'calibration_images: 5' in description and 'compared_images: 4' in description


@pytest.mark.parametrize('flags, words', [
    (['--dataset', 'mnist5k'], 'has 10 classes, the network knows 2; wanted the data set that it was trained for'),
    (['--images', -1], '--images is -1'),
    (['--calibration-images', 0], '--calibration-images is 0'), (['--exclude', 'x'], "is called 'x'"),
    (['--min-agreement', 1.01], '--min-agreement is 1.01; wanted 0 to 1'), (['--data-path', ''], '; set --data-path to'),
    (['--calibrate', '/dev'], 'has no images in it')])
def test_bad_flags_get_one_line_and_write_nothing(call, exported, colours, tmp_path, flags, words):
    code, out, err = call(exported, '--data-path', colours, '--output', tmp_path / 'int8', *flags)
    assert (code, out) == (1, '') and words in err and not list(tmp_path.iterdir())


def test_a_data_set_of_other_classes_is_refused(call, trained, tmp_path, pictures, colours):
    for part in ('train', 'val'):
        for name in ('cat', 'dog'):
            (tmp_path / 'data' / part / name).mkdir(parents=True)
            (tmp_path / 'data' / part / name / 'a.png').write_bytes((pictures / 'picture 1.png').read_bytes())
    code, out, err = call(trained, '--data-path', tmp_path / 'data', '--output', tmp_path / 'int8')
    assert code == 1 and "has the folders cat, dog, which the network does not know; its classes are bläu, red, warm" in err


def test_classes_are_matched_by_name_whatever_else_the_folders_have(exported, colours, tmp_path):
    for part, names in (('Train', ['red, warm', 'bläu']), ('Test', ['red, warm'])):
        for name in names:
            shutil.copytree(colours / 'val' / name, tmp_path / part / name)
    (tmp_path / 'Train' / '._x.jpg').write_bytes(b'x')
    module = load_tool('quantize')
    args = module.parse([str(exported), '--data-path', str(tmp_path)])
    calibration, chosen, labels = module.load_data(args, ['bläu', 'red, warm'], 3)
    assert len(calibration) == 10 and labels.tolist() == [1] * 5
    for name in ('.ipynb_checkpoints/1.jpg', '._x.jpg', 'album.jpg/x.jpg/y.png'):
        (tmp_path / 'c' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(next((colours / 'val' / 'bläu').iterdir()), tmp_path / 'c' / name)
    args = module.parse([str(exported), '--data-path', str(tmp_path), '--calibrate', str(tmp_path / 'c')])
    assert module.load_data(args, ['bläu', 'red, warm'], 3)[0] == [str(tmp_path / 'c/album.jpg/x.jpg/y.png')]
