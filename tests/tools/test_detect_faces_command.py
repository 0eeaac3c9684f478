import csv
import io
import json
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

from image_classification.blazeface.detector import COLUMNS
from image_classification.weights import write_safetensors
from tests.blazeface.conftest import picture, with_published_weights
from tests.golden import DATA
from tests.tools.conftest import load_tool
from tests.tools.test_export_command import failure


@pytest.fixture(scope='module')
def tool():
    return load_tool('detect_faces')


@pytest.fixture
def call(tool, call_tool):
    return partial(call_tool, tool)


@pytest.fixture(scope='session')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'blazeface.safetensors'
    model = with_published_weights('blazeface_front').model
    write_safetensors(path, {name: tensor.numpy() for name, tensor in model.state_dict().items()}, {})
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder with pictures of one face, of three and of none."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name in ('1face', '3faces'):
        Image.fromarray(picture(name)).save(folder / f'{name}.png')
    Image.new('RGB', (60, 40), 'gray').save(folder / 'none.jpg')
    return folder


def recorded(name):
    """(faces, 17) in pixels."""
    return np.load(DATA / f'blazeface_front_real_{name}.npz')['detections'] * ([128] * 16 + [1])


def test_json_has_the_recorded_faces(run_tool, weights, photos, tmp_path):
    done = run_tool('detect_faces.py', 'photos', '--weights', weights, '--output', 'found', '--format', 'json', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    one, three, none = json.loads(done.stdout)
    assert [item['file'] for item in (one, three, none)] == ['photos/1face.png', 'photos/3faces.png', 'photos/none.jpg']
    assert [len(item['faces']) for item in (one, three, none)] == [1, 3, 0]
    for face, wanted in zip(three['faces'], recorded('3faces')):
        assert [face[name] for name in COLUMNS[:4]] == pytest.approx(wanted[:4], abs=0.01)
        assert face['key_points']['left_eye'] == pytest.approx(wanted[6:8], abs=0.01)
        assert face['score'] == pytest.approx(wanted[16], abs=1e-4)
    assert sorted(path.name for path in (tmp_path / 'found').iterdir()) == [
        '1face_faces.png', '3faces_faces.png', 'none_faces.png']
    assert none['drawn'] == 'found/none_faces.png'


def test_csv_has_a_line_per_face(call, weights, photos, tmp_path):
    code, out, err = call(photos, '--weights', weights, '--output', tmp_path / 'found', '--format', 'csv')
    header, *rows = csv.reader(io.StringIO(out))
    assert (code, err, header) == (0, '', ['file', *COLUMNS]) and len(rows) == 4
    found = np.array([row[1:] for row in rows[1:]], float)
    np.testing.assert_allclose(found, recorded('3faces'), atol=0.01)


def test_the_table_names_each_picture_and_its_copy(call, weights, photos, tmp_path):
    code, out, err = call(photos, '--weights', weights, '--output', tmp_path / 'found')
    lines = out.splitlines()
    assert (code, err) == (0, '') and lines[0].split() == ['score', 'ymin', 'xmin', 'ymax', 'xmax', 'file']
    assert [line.split('/')[-1] for line in lines[1:6]] == ['1face.png', '3faces.png', '3faces.png', '3faces.png', 'none.jpg']
    assert len({line.index(str(photos)) for line in lines[1:6]}) == 1 and 'no face' in lines[5]
    assert lines[6] == f'drawn: {tmp_path}/found/1face_faces.png' and len(lines) == 9


def test_boxes_and_key_points_are_drawn_where_the_faces_are(call, tool, weights, photos, tmp_path):
    call(photos / '1face.png', '--weights', weights, '--output', tmp_path / 'found')
    before, after = (np.asarray(Image.open(path)) for path in (photos / '1face.png', tmp_path / 'found' / '1face_faces.png'))
    [face] = recorded('1face').astype(int)
    ymin, xmin, ymax, xmax = face[:4]
    assert after.shape == before.shape and (after[ymax - 3, [xmin, xmax]] == tool.BOX).all()
    assert (after[face[5:16:2], face[4:16:2]] == tool.POINT).all(axis=1).sum() >= 5        # the box may cross one
    assert (after[ymax + 3:] == before[ymax + 3:]).all()


def test_a_box_without_an_area_and_one_beyond_the_picture_are_drawn(tool):
    faces = np.zeros((2, 17))
    faces[:, :4] = [[30, 30, 10, 10], [-50, -50, 500, 500]]
    assert tool.draw(Image.new('RGB', (60, 40)), faces).size == (60, 40)


def test_an_input_is_never_overwritten_nor_a_copy_by_another(call, weights, photos):
    (photos / 'other').mkdir()
    for target in ('1face_faces.png', 'other/1face.png', 'other/1FACE.png'):
        shutil.copy(photos / 'none.jpg', photos / target)
    before = {path: path.read_bytes() for path in photos.rglob('*.*')}
    code, out, err = call(photos, '--weights', weights, '--output', photos, '--format', 'json')
    drawn = [item['drawn'].lower() for item in json.loads(out)]
    assert code == 0 and len(drawn) == len(set(drawn)) == 6
    assert all(path.read_bytes() == content for path, content in before.items())


def test_unreadable_pictures_are_named_and_the_others_done(call, weights, photos, tmp_path):
    (photos / 'bad.png').write_bytes(b'no picture')
    code, out, err = call(photos, '--weights', weights, '--output', tmp_path / 'found', '--format', 'json')
    assert code == 1 and len(json.loads(out)) == 3
    assert 'bad.png' in err.splitlines()[0] and '1 of 4 images could not be read' in err.splitlines()[1]


def test_without_weights_it_says_where_they_are(run_tool, photos, tmp_path):
    line = failure(run_tool('detect_faces.py', photos, cwd=tmp_path))
    assert 'no --weights' in line and 'blazeface.pth of https://github.com/hollance/BlazeFace-PyTorch' in line
    assert not (tmp_path / 'faces').exists()


@pytest.mark.parametrize('arguments, words', [
    (['--model', 'blazeface_back'], 'blazeface.safetensors does not fit BlazeFace (blazeface_back)'),
    (['--min-score', 7], '--min-score is 7.0; wanted 0 to 1'),
    (['--output', 'photos/none.jpg'], 'cannot make the directory photos/none.jpg')])
def test_bad_arguments_get_one_line(call, weights, photos, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = call('photos', '--weights', weights, *arguments)
    assert (code, out) == (1, '') and words in err and len(err.splitlines()) == 1
