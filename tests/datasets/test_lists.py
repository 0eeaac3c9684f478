"""Lists of pictures, as Linux, Windows and spreadsheets write them."""
import os

import pytest

from image_classification.datasets.lists import lines_of, read_list
from image_classification.datasets.pictures import find_pictures
from image_classification.errors import UserError


@pytest.fixture
def written(tmp_path):
    """written(bytes): the path of a list of this content, beside which there is a folder b with a picture."""
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / '猫.jpg').touch()

    def write(content):
        (tmp_path / 'train_list.txt').write_bytes(content)
        return tmp_path / 'train_list.txt'
    return write


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32'])
def test_a_list_is_read_in_any_unicode_that_says_which_it_is(written, encoding):
    assert read_list(written('b/猫.jpg 1\r\n\r\nb/x y.jpg\t 20 '.encode(encoding))) == (['b/猫.jpg', 'b/x y.jpg'], [1, 20])
    assert len(list(find_pictures([str(written('b/猫.jpg\n'.encode(encoding)))]))) == 1


def test_names_that_are_no_utf_8_are_kept(written):
    assert os.fsencode(read_list(written(b'b/\xd6\xd0.jpg 3\n'))[0][0]) == b'b/\xd6\xd0.jpg'


def test_backslashes_are_slashes_where_only_so_the_files_are_there(written, tmp_path):
    file = written('b\\猫.jpg 1\nb\\gone.jpg 2\n'.encode())
    assert read_list(file)[0] == ['b/猫.jpg', 'b/gone.jpg']
    assert list(find_pictures([str(written('b\\猫.jpg\n'.encode()))])) == [str(tmp_path / 'b/猫.jpg')]
    (tmp_path / 'b\\猫.jpg').touch()
    assert read_list(written('b\\猫.jpg 1\n'.encode()))[0] == ['b\\猫.jpg']


@pytest.mark.parametrize('content, words', [
    (b'a.jpg 99999999999999999999\n', 'train_list.txt, line 1: the label 99999999999999999999 is out of range; wanted the n'),
    (b'a.jpg 1\nb.jpg 1_0\n', 'line 2: .*wanted "path/of/image label", the label a whole number'),
    ('a.jpg ١\n'.encode(), 'the label a whole number'), (b'a.jpg,0\n', 'wanted "path/of/image label"'),
    ('a.jpg 1\n'.encode('utf-16-le'), 'is no text; wanted lines of'), (b'\xff\xfea', 'is damaged: it begins as UTF-16')])
def test_what_is_no_list_is_named_with_file_and_line(written, content, words):
    with pytest.raises(UserError, match=words) as caught:
        read_list(written(content))
    assert len(str(caught.value)) < 300


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match='none.txt cannot be read: No such file'):
        lines_of(tmp_path / 'none.txt', 'x')
