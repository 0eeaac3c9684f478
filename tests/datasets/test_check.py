"""Pictures to evaluate are looked at before anything is trained."""
import numpy as np
import pytest
from PIL import Image

from image_classification.datasets import check, get_dataset
from image_classification.datasets.check import check_pictures, fault, find_faults
from image_classification.engine.processes.distributed import Group
from image_classification.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A folder of 24 pictures to train and 24 to test, of several formats."""
    endings = ('jpg', 'png', 'bmp', 'gif', 'webp', 'tif')
    for part in ('train', 'val'):
        for number in range(24):
            path = tmp_path / part / f'class {number % 2}' / f'{number:02}.{endings[number // 2 % 6]}'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(PIXELS).save(path)
    return tmp_path


def test_data(tiny, folder):
    return get_dataset(tiny(DATA__DATA_PATH=str(folder)), False)


test_data.__test__ = False


def spoil(path, how):
    """Damage a file in one of the ways that disks and copies know."""
    data = path.read_bytes()
    path.write_bytes({'cut': data[:-200], 'half': data[:len(data) // 2], 'empty': b'', 'text': b'no picture' * 99,
                      'flipped': data[:60] + bytes([data[60] ^ 255]) + data[61:]}[how])


def test_good_pictures_of_any_format_pass(tiny, folder, monkeypatch):
    data = test_data(tiny, folder)
    for limit in (check.WHOLE, 0):
        monkeypatch.setattr(check, 'WHOLE', limit)
        assert find_faults(data, range(len(data))) == [] and check_pictures(data, Group()) == []


@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('how', ['cut', 'half', 'empty', 'text'])
@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'bmp'])
def test_a_damaged_picture_is_found_also_by_a_look_at_its_ends(tmp_path, whole, how, ending):
    path = tmp_path / f'picture.{ending}'
    Image.fromarray(PIXELS).save(path)
    assert fault(path, 3, whole) == ''
    spoil(path, how)
    assert str(path) in fault(path, 3, whole)


def test_of_a_small_data_set_the_middle_is_read_too(tmp_path):
    path = tmp_path / 'picture.png'
    Image.fromarray(PIXELS).save(path)
    spoil(path, 'flipped')
    assert str(path) in fault(path, 3, whole=True)


def test_all_faults_are_told_at_once_ten_of_them_by_name(tiny, folder):
    data = test_data(tiny, folder)
    for path in map(data.path, range(12)):
        with open(path, 'wb'):
            pass
    with pytest.raises(UserError) as caught:
        check_pictures(data, Group())
    text = str(caught.value)
    assert text.startswith('12 of 24 pictures to evaluate cannot be read; repair or remove them: ') and text.endswith('; ...')
    assert text.count('is empty (0 bytes)') == 10 and len(text.splitlines()) == 1
    assert all(data.path(number) in text for number in range(10))


def test_each_process_looks_at_its_share(tiny, folder):
    data = test_data(tiny, folder)
    for number in (3, 4):
        with open(data.path(number), 'wb'):
            pass
    assert [[index for index, _ in find_faults(data, range(rank, 24, 2))] for rank in (0, 1)] == [[4], [3]]
