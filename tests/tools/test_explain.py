import os
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

import image_classification as ic
from image_classification.explain import explain_class
from image_classification.explain.inputs import preprocess_of, seen_box
from image_classification.weights import write_safetensors
from tests.exports import CLASSES, save, with_statistics
from tests.tools.conftest import load_tool


@pytest.fixture(scope='module')
def tool():
    return load_tool('explain')


@pytest.fixture
def call(tool, call_tool):
    return partial(call_tool, tool)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope='module')
def attentive(tmp_path_factory):
    """The checkpoint of a network with attention."""
    return save(with_statistics('mobileformer_26m'), CLASSES, tmp_path_factory.mktemp('attentive') / 'best.safetensors')


def test_every_picture_gets_its_heat_and_attention(attentive, pictures, run_tool, tmp_path):
    files = [pictures / 'picture 3.png', pictures / 'picture 4.png']
    done = run_tool('explain.py', attentive, *files, '--attention', '--layer', 'blocks.7', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    sheets = ['cam', 'map-to-tokens', 'tokens-to-map', 'tokens']
    assert names(tmp_path / 'explained') == [f'picture {i}-{sheet}.png' for i in (3, 4) for sheet in sheets]
    assert [line.split('  ')[0][-13:] for line in done.stdout.splitlines()] == ['picture 3.png', 'picture 4.png']
    assert all(path.name in done.stdout for path in (tmp_path / 'explained').iterdir())


def test_it_says_what_the_network_says(call, trained, colours, tmp_path):
    code, out, err = call(trained, colours / 'val', '--output', tmp_path)
    assert code == 0 and len(names(tmp_path)) == 10
    assert out.count('bläu/picture') == 5 and all(('red, warm' in line.split('  ')[1]) == ('red, warm/' in line.split('  ')[0])
                                                  for line in out.splitlines())


def test_a_finer_layer_is_advised_once_where_the_last_map_is_small(call, trained, colours, tmp_path):
    pictures = sorted((colours / 'val').rglob('*.png'))[:2]
    code, out, err = call(trained, *pictures, '--output', tmp_path)
    assert err == 'note: Grad-CAM has a map of 1 x 1 pixels only; --layer stage2 has 4 x 4\n'
    code, out, err = call(trained, *pictures, '--output', tmp_path, '--layer', 'stage2')
    assert (code, err) == (0, '') and len(names(tmp_path)) == 4


def test_classes_are_taken_by_name_and_by_number(call, trained, colours, tmp_path):
    picture = colours / 'val' / 'bläu' / 'picture 0.png'
    code, out, err = call(trained, picture, '--class', 'red, warm', '--class', '0', '--output', tmp_path)
    assert code == 0 and out.split('  ')[1].startswith('red, warm 0.0 %') and ', bläu 100.0 %' in out
    alone = call(trained, picture, '--class', '1', '--output', tmp_path)[1]
    assert alone.split('  ')[1].startswith('red, warm 0.0 %')
    widths = [Image.open(tmp_path / name).width for name in ('picture 0-cam.png', 'picture 0-cam-2.png')]
    assert widths[0] > widths[1]


def test_nothing_is_written_over(call, trained, colours, tmp_path):
    (tmp_path / 'picture 0-cam.png').write_text('mine')
    for folder in ('bläu', 'red, warm'):
        assert call(trained, colours / 'val' / folder / 'picture 0.png', '--output', tmp_path)[0] == 0
    assert names(tmp_path) == ['picture 0-cam-2.png', 'picture 0-cam-3.png', 'picture 0-cam.png']
    assert (tmp_path / 'picture 0-cam.png').read_text() == 'mine'


@pytest.mark.parametrize('arguments, words', [
    (['--class', 'red'], "no class is called 'red', nor is it a number below 2; the nearest name is 'red, warm'"),
    (['--class', '2'], "no class is called '2'"), (['--layer', 'stage'], "has no layer 'stage'; wanted one of"),
    (['--attention'], 'ShuffleNetV2 has no attention'), (['--pixel', '3;4'], "--pixel is '3;4'; wanted X,Y"),
    (['--pixel', '3'], "--pixel is '3'; wanted X,Y"), (['--output', __file__], 'cannot make the folder')])
def test_what_cannot_be_done_gets_one_line(call, trained, colours, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(trained, colours / 'val' / 'bläu' / 'picture 0.png', *arguments)
    assert (code, out) == (1, '') and words in err and len(err.splitlines()) == 1


def test_a_pixel_that_the_network_does_not_see_is_said(call, attentive, pictures, tmp_path):
    code, out, err = call(attentive, pictures / 'picture 3.png', '--attention', '--pixel', '0,20', '--output', tmp_path)
    assert code == 1 and '--pixel is 0,20; the network sees x from 11 to 48 and y from 3 to 39' in err
    assert call(attentive, pictures / 'picture 3.png', '--attention', '--pixel', '11,3', '--output', tmp_path)[0] == 0


def test_an_export_is_refused_with_what_to_take_instead(call, pictures, tmp_path):
    (tmp_path / 'inference.yaml').write_text('name: some')
    for path in (tmp_path, tmp_path / 'inference.yaml', tmp_path / 'model.onnx'):
        code, out, err = call(path, pictures / 'picture 3.png')
        assert code == 1 and 'runs without gradients' in err and 'wanted the checkpoint' in err and len(err.splitlines()) == 1


def test_a_model_that_is_neither_file_nor_name_is_said(call, trained, colours):
    picture = colours / 'val' / 'bläu' / 'picture 0.png'
    code, out, err = call('nowhere.safetensors', picture)
    assert code == 1 and 'no checkpoint at nowhere.safetensors' in err and len(err.splitlines()) == 1
    code, out, err = call(trained, picture, '--weights', 'default')
    assert code == 1 and '--weights needs a model name' in err


@pytest.mark.parametrize('name, first', [('mobilenet_v1_x0_25', 'tench'), ('blazeface_front', 'face')])
def test_a_network_by_its_name_with_weights(call, pictures, tmp_path, name, first):
    network = ic.create_model(name)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    write_safetensors(tmp_path / 'w.safetensors', state, {})
    code, out, err = call(name, pictures / 'picture 3.png', '--weights', tmp_path / 'w.safetensors',
                          '--class', first, '--output', tmp_path / 'out')
    expected = explain_class(network, pictures / 'picture 3.png', 0).probability
    assert code == 0 and f'{first} {100 * expected:.1f} %' in out and names(tmp_path / 'out') == ['picture 3-cam.png']


def test_unreadable_pictures_are_named_and_the_others_explained(call, trained, colours, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    (folder / 'bad.png').write_bytes(b'no image')
    shutil.copy(colours / 'val' / 'bläu' / 'picture 0.png', folder)
    code, out, err = call(trained, folder, '--output', tmp_path / 'out')
    assert code == 1 and names(tmp_path / 'out') == ['picture 0-cam.png']
    assert 'bad.png' in err.splitlines()[0] and '1 of 2 pictures could not be read' in err.splitlines()[-1]


def test_names_of_any_bytes_and_length_are_written(call, trained, colours, tmp_path):
    odd, long = os.fsdecode(b'odd \xff.png'), 'a' * 250 + '.png'
    for name in (odd, long):
        shutil.copy(colours / 'val' / 'bläu' / 'picture 0.png', tmp_path / name)
    code, out, err = call(trained, tmp_path / odd, tmp_path / long, '--output', tmp_path / 'out')
    assert code == 0 and names(tmp_path / 'out') == ['a' * 150 + '-cam.png', 'odd \ufffd-cam.png']


def test_a_picture_on_standard_input_is_explained(trained, colours, run_tool, tmp_path):
    with open(colours / 'val' / 'bläu' / 'picture 0.png', 'rb') as picture:
        done = run_tool('explain.py', trained, '-', '--output', tmp_path, stdin=picture.read())
    assert done.returncode == 0 and done.stdout.startswith('-  bläu') and names(tmp_path) == ['standard-input-cam.png']


@pytest.mark.parametrize('size', [(64, 64), (100, 60), (61, 99)])
def test_the_box_is_what_the_network_sees(size):
    """A picture that is red inside of the box and blue around it is prepared as a red one."""
    preprocess = preprocess_of(ic.create_model('mobilenet_v1_x0_25'))
    left, top, right, bottom = seen_box(preprocess, size)
    assert abs((right - left) - (bottom - top)) <= 1 and 0 < left and right < size[0]
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, :, 2] = 255
    pixels[top:bottom, left:right] = (255, 0, 0)
    seen = np.asarray(preprocess.crop(Image.fromarray(pixels)))
    assert (seen[8:-8, 8:-8] == (255, 0, 0)).all()
    pixels[top + 2:bottom - 2, left + 2:right - 2] = (0, 0, 255)
    assert (np.asarray(preprocess.crop(Image.fromarray(pixels)))[[0, -1], 112] != (0, 0, 255)).any()


def test_the_hottest_pixel_is_where_pixels_read_from(tool):
    heat = np.zeros((4, 4))
    heat[2, 1] = 1
    assert tool.place_of(None, (0, 0, 8, 8), heat) == (0.625, 0.375)
    assert tool.place_of(None, (0, 0, 8, 8), np.ones((4, 4))) == (0.5, 0.5)
    assert tool.place_of((14, 6), (10, 2, 18, 10), heat) == (0.5625, 0.5625)
