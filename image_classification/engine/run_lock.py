"""A lock, so that only one training at a time writes to a run directory."""
import contextlib
import errno
import json
import os
import socket

from image_classification.errors import UserError
from image_classification.files import is_alive

try:
    import fcntl
except ImportError:                        # Windows
    fcntl = None

NAME = '.lock'
_IN_USE = (errno.EACCES, errno.EAGAIN)


class RunLock:
    """Exclusive right to write into run directories, from `take` to `release`. The system releases the lock when the process
    ends in any way. Forked processes, which load images, do not inherit it.

    On a file system without locks, a living process of this machine counts as the owner. A process of another machine is only
    named in `notes`, because it is unknown whether it still writes.
    """

    def __init__(self):
        self.files, self.notes = {}, []

    def take(self, directory):
        """Lock `directory`. Raises UserError if another training is writing into it."""
        path = directory / NAME
        while path not in self.files:
            try:
                file = open(path, 'a+', encoding='utf-8')
            except OSError as error:
                raise UserError(f'cannot write {path}: {error.strerror}. Choose another -output.') from None
            owner = _owner(file)
            if not self._lock(file, directory, owner):
                file.close()
                raise UserError(f'{directory} is being written by another training{_described(owner)}. Stop that one or wait '
                                'for its end, or leave -resume out, which starts another run')
            if not _is_there(file, path):                          # its owner has just removed it
                file.close()
                continue
            self.files[path] = file
            file.seek(0)
            file.truncate()
            file.write(json.dumps({'process': os.getpid(), 'host': socket.gethostname()}))
            file.flush()

    def release(self):
        while self.files:
            path, file = self.files.popitem()
            with contextlib.suppress(OSError):
                path.unlink()
            file.close()

    def _lock(self, file, directory, owner):
        """Lock the file. Returns whether no other process holds it."""
        try:
            if fcntl is None:
                raise OSError
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in _IN_USE:
                return False
        if owner.get('host') == socket.gethostname() and owner.get('process') != os.getpid():
            return fcntl is None or not is_alive(owner['process'])
        if owner:
            self.notes.append(f'warning: {directory} was being written{_described(owner)}, and its file system has no locks. '
                              'Make sure that this training no longer runs')
        return True


def _owner(file):
    """{'process', 'host'} of the process that wrote the file; {} if it is empty or unreadable."""
    file.seek(0)
    try:
        owner = json.loads(file.read())
        return {'process': int(owner['process']), 'host': str(owner['host'])}
    except (ValueError, KeyError, TypeError, OSError):
        return {}


def _described(owner):
    return f', process {owner["process"]} on {owner["host"]}' if owner else ''


def _is_there(file, path):
    """Whether `path` is still this file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False
