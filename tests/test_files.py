"""Files that are there whole or not at all."""
import shutil
import tempfile
from types import SimpleNamespace

import pytest

from image_classification import files
from image_classification.errors import UserError
from image_classification.files import write_atomically


def test_the_longest_name_that_the_disk_takes_can_be_written(tmp_path):
    path = tmp_path / ('n' * 251 + '.txt')
    write_atomically(path, lambda temporary: temporary.write_text('text'))
    assert path.read_text() == 'text' and list(tmp_path.iterdir()) == [path]


def test_a_longer_name_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match='cannot write .*nnn.txt: File name too long. Choose another file.'):
        write_atomically(tmp_path / ('n' * 252 + '.txt'), lambda temporary: temporary.write_text('text'))
    assert not any(tmp_path.iterdir())


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / 'file').write_text('old')

    def fail(temporary):
        temporary.write_text('new')
        raise RuntimeError('in the middle')
    with pytest.raises(RuntimeError):
        write_atomically(tmp_path / 'file', fail)
    assert (tmp_path / 'file').read_text() == 'old' and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_told_from_other_failures(tmp_path, monkeypatch):
    free = {}
    monkeypatch.setattr(shutil, 'disk_usage', lambda place: SimpleNamespace(free=free.get(str(place), 2 ** 30)))
    files.check_space('ValueError: something else', tmp_path)
    for message, full, words in (
            ('RuntimeError: basic_ios::clear: iostream error', {}, 'a file could not be written .* is the disk full'),
            ('RuntimeError: anything', {str(tmp_path): 5}, 'No space left on device$'),
            ('RuntimeError: anything', {tempfile.gettempdir(): 5}, 'No space left on device for temporary files'),
            ('OSError: [Errno 122] Disk quota exceeded', {}, 'No space left')):
        free.clear()
        free.update(full)
        with pytest.raises(OSError, match=words):
            files.check_space(message, tmp_path)
