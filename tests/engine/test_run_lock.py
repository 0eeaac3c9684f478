"""A run is written by one training at a time."""
import errno
import json
import os
import signal
import socket

import pytest

from image_classification.engine import run_lock
from image_classification.engine.run_lock import NAME, RunLock
from image_classification.errors import UserError
from tests.engine.faults import end, fork, wait_for
from tests.engine.test_trainer import message, train


@pytest.fixture
def owner(tmp_path):
    """owner(directory): the number of a process that writes there; it is killed with the test."""
    made = []

    def make(directory):
        def hold():
            lock = RunLock()
            lock.take(directory)
            signal.pause()
        made.append(fork(hold, tmp_path / 'log'))
        wait_for(lambda: (directory / NAME).exists() and (directory / NAME).read_text().endswith('}'))
        return made[-1]
    yield make
    for pid in made:
        try:
            end(pid)
        except ProcessLookupError:
            pass


def test_another_process_is_refused_until_the_owner_is_dead(tmp_path, owner):
    pid = owner(tmp_path)
    with pytest.raises(UserError, match=f'written by another training, process {pid} on {socket.gethostname()}. Stop that one'):
        RunLock().take(tmp_path)
    assert end(pid) == -signal.SIGKILL and (tmp_path / NAME).exists()
    lock = RunLock()
    lock.take(tmp_path)
    lock.release()
    assert not (tmp_path / NAME).exists()


def test_a_training_does_not_go_on_where_another_is_at_work(tiny, owner):
    directory = train(tiny(TRAIN__MAX_STEPS=1))
    assert not (directory / NAME).exists()
    before = sorted(path.name for path in directory.iterdir())
    pid = owner(directory)
    for resume in ('auto', str(directory), str(directory / 'last.safetensors')):
        assert f'process {pid} on' in message(tiny(RESUME=resume))
    assert sorted(path.name for path in directory.iterdir()) == sorted([*before, NAME])
    other = train(tiny(RESUME=str(directory / 'best.safetensors'), TRAIN__MAX_STEPS=2))   # a run of its own
    assert other != directory
    end(pid)
    train(tiny(RESUME='auto', TRAIN__MAX_STEPS=3))


@pytest.fixture
def without_locks(monkeypatch):
    def lockf(*_):
        raise OSError(errno.ENOLCK, 'No locks available')
    monkeypatch.setattr(run_lock.fcntl, 'lockf', lockf)


def left_by(directory, pid, host):
    (directory / NAME).write_text(json.dumps({'process': pid, 'host': host}))


def test_without_locks_a_process_of_this_machine_counts_while_it_is_alive(tmp_path, without_locks):
    left_by(tmp_path, os.getppid(), socket.gethostname())
    with pytest.raises(UserError, match=f'process {os.getppid()} on'):
        RunLock().take(tmp_path)
    left_by(tmp_path, 2 ** 22 + 1, socket.gethostname())           # no process has such a number
    lock = RunLock()
    lock.take(tmp_path)
    assert not lock.notes and json.loads((tmp_path / NAME).read_text())['process'] == os.getpid()


def test_without_locks_one_of_another_machine_is_named(tmp_path, without_locks):
    left_by(tmp_path, 1, 'elsewhere')
    lock = RunLock()
    lock.take(tmp_path)
    note, = lock.notes
    assert 'process 1 on elsewhere' in note and 'has no locks' in note


@pytest.mark.parametrize('content', ['', 'half', '{"process": "x"}', '[1]'])
def test_a_file_that_says_nothing_is_taken(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    RunLock().take(tmp_path)
