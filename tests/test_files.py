"""Files that are there whole or not at all, and what is left where a process is killed."""
import fcntl
import os
import subprocess
import shutil
import tempfile
from types import SimpleNamespace

import pytest

from image_classification import files
from image_classification.errors import UserError
from image_classification.files import new_directory, set_aside, temporary_directory, write_atomically
from image_classification.weights import write_safetensors


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


@pytest.mark.parametrize('umask, mode', [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_have_the_mode_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_safetensors(tmp_path / 'best.safetensors', {}, {})   # its library makes files of mode 0600
        write_atomically(tmp_path / 'text', lambda temporary: temporary.write_text('text'))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


# What killed processes leave

@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen(['true'])
    process.wait()
    return process.pid


@pytest.fixture
def anew(monkeypatch):
    """As a process that has just started: no directory has been looked through."""
    monkeypatch.setattr(files, '_swept', set())


def test_what_a_killed_process_has_left_goes_and_what_others_have_stays(tmp_path, dead, anew):
    kept = [f'.a.txt.{os.getpid()}.1.tmp', f'.a.txt.{dead}.tmp', f'a.txt.{dead}.1.tmp', f'.a.txt.{dead}.9.tmp']
    for name in [*kept, f'.b.txt.{dead}.1.tmp']:
        (tmp_path / name).write_text('half')
    with open(tmp_path / kept[-1]) as locked:                      # by a process of another container
        fcntl.flock(locked, fcntl.LOCK_EX)
        write_atomically(tmp_path / 'a.txt', lambda temporary: temporary.write_text('text'))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, 'a.txt'])


def test_so_does_half_an_export_and_a_temporary_directory(tmp_path, dead, anew, monkeypatch):
    monkeypatch.setattr(files.tempfile, 'gettempdir', lambda: str(tmp_path))
    kept = [f'.export.{os.getpid()}.abcdefgh', f'.other.{dead}.abcdefgh', f'.export.{dead}.short',
            f'mobile-backbones-{os.getpid()}-abcdefgh']
    for name in [*kept, f'.export.{dead}.abcdefgh', f'mobile-backbones-{dead}-abcdefgh']:
        (tmp_path / name / 'ready').mkdir(parents=True)
    with new_directory(tmp_path / 'export', 'export'), temporary_directory():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, 'export'])


# Replacing

def refuses(path):
    return 'holds something else' if (path / 'notes.txt').exists() else ''


def test_a_directory_is_replaced_at_the_end_if_it_may_be(tmp_path):
    target = tmp_path / 'export'
    target.mkdir()
    (target / 'old').touch()
    for foreign, advice in ((None, 'another one.'), (refuses, 'another one, or replace it with --force.')):
        with pytest.raises(UserError, match=f'never overwrites. .* {advice}'), new_directory(target, 'export', foreign):
            pass
    with pytest.raises(RuntimeError), new_directory(target, 'export', refuses, force=True) as ready:
        (ready / 'new').touch()
        raise RuntimeError('in the middle')
    assert os.listdir(target) == ['old']
    with new_directory(target, 'export', refuses, force=True) as ready:
        (ready / 'new').touch()
        assert os.listdir(target) == ['old']
    assert os.listdir(target) == ['new'] and os.listdir(tmp_path) == ['export']
    (target / 'notes.txt').touch()
    with pytest.raises(UserError, match='holds something else, so it is not replaced'), \
            new_directory(target, 'export', refuses, force=True):
        pass


def test_what_is_set_aside_comes_back_after_an_error_and_goes_at_the_end(tmp_path):
    target = tmp_path / 'fit'

    def write(name):
        target.mkdir()
        (target / name).touch()
    for name in ('first', 'second'):
        with set_aside(target):
            assert not target.exists()
            write(name)
        assert os.listdir(target) == [name] and os.listdir(tmp_path) == ['fit']
    with pytest.raises(KeyboardInterrupt), set_aside(target):
        write('third')
        raise KeyboardInterrupt
    assert os.listdir(target) == ['second'] and os.listdir(tmp_path) == ['fit']


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
