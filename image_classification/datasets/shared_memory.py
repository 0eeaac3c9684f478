"""What processes that load images leave in /dev/shm where they are killed: Paddle's files `paddle_<process>_...`.

A file `mobile-backbones-<process>` beside them has the numbers of the processes that load for one that trains, which holds its
lock. Where nobody holds it, that one is gone, and what it has left is removed. The number of a process alone would not tell:
containers that share /dev/shm count theirs apart.
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
_own = {}                                  # {number of this process: its List}; a fork finds its parent's under another number


class List:
    """The numbers of the processes that load images for this one, in a file whose lock it holds."""

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
    """These processes load images for this one: should it be killed, the next one that loads images removes what they leave."""
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
    """These processes do so no longer: remove what they have left."""
    _remove_files(pids)
    if own := _own.get(os.getpid()):
        own.pids.difference_update(pids)
        with contextlib.suppress(OSError):
            own.write()


def remove_own():
    """Remove what this process and those that load for it have left: it is about to end."""
    if own := _own.pop(os.getpid(), None):
        with undisturbed(), contextlib.suppress(OSError):
            _remove_files([*own.pids, os.getpid()])
            own.path.unlink()


def remove_abandoned():
    """Remove what is left of processes of this user that were killed."""
    for path in SHARED_MEMORY.glob(f'{_PREFIX}*'):
        with contextlib.suppress(OSError), open(path, 'r+', encoding='ascii') as file:
            if path.stat().st_uid == os.getuid():
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)   # an error: it is in use
                _remove_files([*file.read().split(), path.name.removeprefix(_PREFIX)])
                path.unlink()


def _remove_files(pids):
    for pid in pids:
        for path in SHARED_MEMORY.glob(f'paddle_{pid}_*'):
            with contextlib.suppress(OSError):
                path.unlink()
