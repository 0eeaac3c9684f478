"""Removes files that killed worker processes leave in /dev/shm: Paddle's `paddle_<process id>_...`.

A training process keeps a file `mobile-backbones-<process id>` there with the ids of its worker processes, and holds a lock on
it. If nobody holds the lock, the training process has ended, and the files of its workers are removed. A process id alone is
not enough, because containers that share /dev/shm have ids of their own.
"""
import atexit
import contextlib
import os
from pathlib import Path

from image_classification.errors import undisturbed

try:
    import fcntl
except ImportError:                        # Windows
    fcntl = None

SHARED_MEMORY = Path('/dev/shm')
_PREFIX = 'mobile-backbones-'
_own = {}                                  # {id of this process: its List}; by the id, a fork does not use its parent's


class List:
    """The ids of this process's worker processes, in a file that it holds a lock on."""

    def __init__(self):
        self.path, self.pids = SHARED_MEMORY / f'{_PREFIX}{os.getpid()}', set()
        self.file = open(self.path, 'w+', encoding='ascii')
        fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self):
        self.file.seek(0)
        self.file.truncate()
        self.file.writelines(f'{pid}\n' for pid in self.pids)
        self.file.flush()


def watch_over(pids):
    """Register worker processes of this process. If it is killed, the next process with workers removes their files."""
    if fcntl is None or not SHARED_MEMORY.is_dir():
        return
    with contextlib.suppress(OSError):
        if os.getpid() not in _own:
            remove_abandoned()
            _own[os.getpid()] = List()
            atexit.register(remove_own)
        own = _own[os.getpid()]
        own.pids.update(pids)
        own.write()


def have_ended(pids):
    """Remove the files that these worker processes have left, and forget the processes."""
    _remove_files(pids)
    if own := _own.get(os.getpid()):
        own.pids.difference_update(pids)
        with contextlib.suppress(OSError):
            own.write()


def remove_own():
    """Remove the files of this process and its workers, when this process is about to end."""
    if own := _own.pop(os.getpid(), None):
        with undisturbed(), contextlib.suppress(OSError):
            _remove_files([*own.pids, os.getpid()])
            own.path.unlink()


def remove_abandoned():
    """Remove the files that killed processes of this user have left."""
    for path in SHARED_MEMORY.glob(f'{_PREFIX}*'):
        with contextlib.suppress(OSError), open(path, 'r+', encoding='ascii') as file:
            if path.stat().st_uid == os.getuid():
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)   # raises if the lock is held
                _remove_files([*file.read().split(), path.name.removeprefix(_PREFIX)])
                path.unlink()


def _remove_files(pids):
    for pid in pids:
        for path in SHARED_MEMORY.glob(f'paddle_{pid}_*'):
            with contextlib.suppress(OSError):
                path.unlink()
