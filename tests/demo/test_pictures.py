import os
import time

import pytest
from PIL import Image

from image_classification.demo.pictures import ALIAS, PictureStore
from image_classification.errors import UserError

from .conftest import encoded, picture


@pytest.fixture
def pictures():
    with PictureStore(max_pixels=10_000, max_mb=0.04, keep_minutes=10) as pictures:
        yield pictures


def test_a_picture_is_found_again_under_a_name_that_nobody_guesses(pictures):
    names = {pictures.add(picture()) for _ in range(5)}
    assert len(names) == 5 and all(len(name) > 32 and name.startswith(f'{ALIAS}/') for name in names)
    assert all(pictures.find(name).read_bytes() == picture() for name in names)


@pytest.mark.parametrize('name', ['', '/', ALIAS, f'{ALIAS}/', f'{ALIAS}/..', f'{ALIAS}/../../etc/passwd', None, 3,
                                  '/etc/passwd', f'{ALIAS}/a\0b.png', f'{ALIAS}//etc/passwd', f'{ALIAS}/{"a" * 300}', f'{ALIAS}/.',
                                  'a.png'])
def test_nothing_else_is_found(pictures, name):
    pictures.add(picture())
    assert pictures.find(name) is None


def test_only_pictures_within_the_folder_are_opened(pictures, tmp_path):
    (tmp_path / 'a.png').write_bytes(picture())
    for path in (tmp_path / 'a.png', pictures.folder, pictures.folder / 'a.png', pictures.folder / '..' / 'a.png'):
        with pytest.raises(UserError, match='not here any more'):
            pictures.open(str(path))


def test_a_picture_is_opened_upright(pictures):
    exif = Image.Exif()
    exif[0x0112] = 6                                               # to be turned by a quarter
    Image.new('RGB', (30, 20)).save(path := pictures.folder / 'a.jpeg', exif=exif)
    assert pictures.open(str(path)).size == (20, 30)


def test_old_pictures_are_deleted_when_a_new_one_comes(pictures):
    old, new = pictures.add(picture()), pictures.add(picture())
    os.utime(pictures.find(old).parent, (time.time() - 601,) * 2)
    pictures.add(picture())
    assert pictures.find(old) is None and pictures.find(new)


def test_the_oldest_make_room_for_a_new_one(pictures):
    size, names = len(picture()), []
    for age in range(10, 0, -1):
        names.append(pictures.add(picture()))
        os.utime(pictures.find(names[-1]).parent, (time.time() - age,) * 2)
    kept = [name for name in names if pictures.find(name)]
    assert len(kept) == int(0.04 * (1 << 20) / size) < 10 and kept == names[-len(kept):]


def test_answers_name_the_folder_by_its_alias(pictures):
    text = f'{{"path": "{pictures.folder}/a/b.png"}}'.encode()
    assert pictures.hide(text) == f'{{"path": "{ALIAS}/a/b.png"}}'.encode()


def test_the_folder_is_private_and_goes_with_the_page():
    with PictureStore(10_000, 1, 1) as pictures:
        pictures.add(encoded(Image.new('L', (3, 3)), 'GIF'))
        assert pictures.folder.stat().st_mode & 0o077 == 0
    assert not pictures.folder.exists()
