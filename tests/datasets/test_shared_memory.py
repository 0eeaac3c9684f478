"""What is left in /dev/shm by processes that were killed."""
import os
import signal
import time

import pytest

from image_classification.datasets import shared_memory
from image_classification.datasets.shared_memory import have_ended, remove_own, watch_over


@pytest.fixture(autouse=True)
def shm(tmp_path, monkeypatch):
    """A directory in place of /dev/shm."""
    monkeypatch.setattr(shared_memory, 'SHARED_MEMORY', tmp_path)
    monkeypatch.setattr(shared_memory, '_own', {})
    return tmp_path


def names(shm):
    return sorted(path.name for path in shm.iterdir())


def killed(shm, pids):
    """A process that these load images for, after it was killed."""
    pid = os.fork()
    if not pid:
        watch_over(pids)
        (shm / 'ready').touch()
        signal.pause()
    while not (shm / 'ready').exists():
        time.sleep(0.005)
    (shm / 'ready').unlink()
    for number in pids:
        (shm / f'paddle_{number}_1_2').touch()
    return pid


def test_what_a_killed_training_has_left_is_removed_at_the_next_start_and_that_of_a_live_one_stays(shm):
    for name in ('paddle_3_1_2', 'paddle_41_1_2', 'another program'):
        (shm / name).touch()                                       # of others, dead or not
    before, pid = names(shm), killed(shm, [4, 5])
    try:
        watch_over([6])
        remove_own()
        assert {'paddle_4_1_2', 'paddle_5_1_2', f'mobile-backbones-{pid}'} < set(names(shm))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    watch_over([6])
    assert names(shm) == sorted([*before, f'mobile-backbones-{os.getpid()}'])
    remove_own()
    assert names(shm) == before


def test_loaders_that_have_ended_leave_nothing_and_are_forgotten(shm):
    watch_over([4, 5])
    for number in (4, 5, 6):
        (shm / f'paddle_{number}_1_2').touch()
    have_ended([4])
    own = f'mobile-backbones-{os.getpid()}'
    assert names(shm) == [own, 'paddle_5_1_2', 'paddle_6_1_2'] and (shm / own).read_text() == '5\n'
    remove_own()
    assert names(shm) == ['paddle_6_1_2']


def test_where_there_is_no_shared_memory_nothing_happens(shm, monkeypatch):
    monkeypatch.setattr(shared_memory, 'SHARED_MEMORY', shm / 'none')
    watch_over([4])
    have_ended([4])
    remove_own()
    assert names(shm) == []
