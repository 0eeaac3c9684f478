"""Files that are there whole or not at all, and what is theirs alone while they are made."""
import atexit
import contextlib
import errno
import os
import re
import shutil
import tempfile
import threading
from pathlib import Path

from image_classification.errors import UserError, undisturbed

try:
    import fcntl
except ImportError:                        # Windows
    fcntl = None

_FILE = re.compile(r'\..*\.(\d+)\.\d+\.tmp', re.S)                # of `write_atomically`: the number is its process
_TEMPORARY = re.compile(r'mobile-backbones-(\d+)-\w{8}')
_claims, _swept = {}, set()                # {path: (descriptor that holds its lock, process)}; directories looked through

_LITTLE = 2 ** 20                                                  # bytes
_FULL = re.compile(r'(?i)no space left|disk quota|enospc')         # in messages of programs
_UNWRITTEN = re.compile(r'(?i)iostream error|ios_base|failed to (write|open|save)|(write|save|open)\w* failed')


def unused(path):
    """`path`, or with a number behind its stem where something has that name already."""
    candidates = (path if n == 1 else path.with_name(f'{path.stem}-{n}{path.suffix}') for n in range(1, 1000))
    return next(candidate for candidate in candidates if not candidate.exists())


def write_atomically(path, write, advice='Choose another file.'):
    """Let `write(temporary)` write a file beside `path`, sync it, rename it: a reader sees the old file or the new one. Its
    mode is that of any new file, whatever `write` makes of it.

    Raises:
        UserError: it cannot be written, for lack of space or of access; `advice` says what to do then.
    """
    path = Path(path)
    # Not longer than the longest name of a file.
    temporary = path.with_name(f'.{path.name[:50]}.{os.getpid()}.{threading.get_ident()}.tmp')
    try:
        remove_halves(path.parent)
        mode = _claim_file(temporary)
        write(temporary)
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):                         # a file system without modes
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BrokenPipeError:                                        # who reads what is printed, not the file
        raise
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror or error}. {advice}') from None
    finally:
        _release(temporary)
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_space(message, *places):
    """Raise OSError where `message`, of a program that failed, may mean that the disk of these directories, or of temporary
    files, is full: streams of C++ give no reason."""
    full, scratch = os.strerror(errno.ENOSPC), tempfile.gettempdir()
    if _FULL.search(message) or any(shutil.disk_usage(place).free < _LITTLE for place in places):
        raise OSError(errno.ENOSPC, full)
    if shutil.disk_usage(scratch).free < _LITTLE:
        raise OSError(errno.ENOSPC, f'{full} for temporary files ({scratch}, or set TMPDIR)')
    if _UNWRITTEN.search(message):
        reason = ' '.join(message.split())[:200]
        raise OSError(errno.EIO, f'a file could not be written ({reason}); is the disk full or write-protected?')


def check_new(path, what, foreign=None, force=False):
    """Raise UserError where there is something at `path`, which `what` would have for a directory of its own.

    Args:
        foreign: says of a directory, in words, that somebody else has written it or something in it, else ''.
        force: the directory may be replaced, unless it is foreign.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_dir():
        raise UserError(f'{path} is a file; wanted a directory that does not exist yet')
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not force:
        by_force = ', or replace it by --force' if foreign and not foreign(target) else ''
        raise UserError(f'{path} exists and is not empty; {what} never overwrites. Remove it or choose another one{by_force}.')
    if problem := foreign(target):
        raise UserError(f'{path} exists and {problem}, so it is not replaced. Remove it or choose another one.')


@contextlib.contextmanager
def new_directory(path, kind, foreign=None, force=False):
    """A directory beside `path` to write into, which takes its place at the end of the block; after an error nothing is left.

    Args:
        kind: what the directory holds, for messages.
        foreign, force: as of `check_new`; what is at `path` stays until the new directory is complete.
    Raises:
        UserError: there is something at `path` already, or it cannot be written.
    """
    target = Path(path).resolve()
    check_new(path, f'an {kind}', foreign, force)
    try:
        anchor = next(parent for parent in target.parents if parent.exists())
        _sweep(anchor, re.compile(rf'\.{re.escape(target.name)}\.(\d+)\.\w{{8}}', re.S), again=True)
        with _workplace(f'.{target.name}.{os.getpid()}.', anchor) as workplace:
            ready = workplace / 'ready'
            ready.mkdir()
            yield ready
            with undisturbed():
                target.parent.mkdir(parents=True, exist_ok=True)
                check_new(target, f'an {kind}', foreign, force)    # it may have come in the meantime
                _put(ready, target, workplace / 'before')
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f'cannot write the {kind} {target}: {error.strerror or error}. Choose another directory.') from error


def _put(ready, target, before):
    """Rename `ready` to `target`, and what is there to `before`."""
    if target.exists():
        os.rename(target, before)
    try:
        os.rename(ready, target)
    except OSError:
        if before.exists():
            os.rename(before, target)
        raise


@contextlib.contextmanager
def set_aside(path):
    """Within the block, which writes at `path`, a directory that is there waits under another name beside it, to be removed at
    the end, or to come back after an error."""
    path = Path(path)
    if not path.is_dir() or not any(path.iterdir()):
        yield
        return
    before = unused(path.with_name(f'{path.name}-before'))
    os.rename(path, before)
    try:
        yield
    except BaseException:
        with undisturbed():
            shutil.rmtree(path, ignore_errors=True)
            os.rename(before, path)
        raise
    shutil.rmtree(before, ignore_errors=True)


@contextlib.contextmanager
def temporary_directory():
    """A new directory, which is removed at the end of the block."""
    path = make_temporary()
    try:
        yield path
    finally:
        remove_temporary(path)


def make_temporary():
    """A new directory, for `remove_temporary`. Those of processes that were killed before are removed."""
    place = Path(tempfile.gettempdir()).resolve()
    _sweep(place, _TEMPORARY)
    return _claim_directory(Path(tempfile.mkdtemp(prefix=f'mobile-backbones-{os.getpid()}-', dir=place)))


def remove_temporary(path):
    with undisturbed():
        _release(path)
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _workplace(prefix, directory):
    path = _claim_directory(Path(tempfile.mkdtemp(prefix=prefix, dir=directory)))
    try:
        yield path
    finally:
        remove_temporary(path)


def _claim_file(path):
    """Make an empty file that others see is in use -> the mode of a new file here."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    mode = os.fstat(descriptor).st_mode & 0o777
    _keep(path, descriptor)
    return mode


def _claim_directory(path):
    with contextlib.suppress(OSError):                             # Windows opens no directories
        _keep(path, os.open(path, os.O_RDONLY))
    return path


def _keep(path, descriptor):
    """Hold a lock on the file behind a descriptor until `_release`, where the system and the file system have locks."""
    try:
        if fcntl is None:
            raise OSError
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _claims[path] = descriptor, os.getpid()
    except OSError:
        os.close(descriptor)


def _release(path):
    if path in _claims:
        os.close(_claims.pop(path)[0])


@atexit.register
def _remove_claimed():
    """What threads are at work on when the process ends."""
    for path, (_, owner) in list(_claims.items()):
        if owner == os.getpid():
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.unlink()


def remove_halves(directory):
    """Remove what `write_atomically` of processes that were killed has left in a directory."""
    _sweep(directory, _FILE)


def _sweep(directory, pattern, again=False):
    """Remove what processes that were killed have left in a directory: what bears such a name, a number of no process of this
    machine, and no lock. Each directory is looked through once, unless `again`."""
    if fcntl is None or not again and (directory, pattern) in _swept:
        return
    _swept.add((directory, pattern))
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            match = pattern.fullmatch(entry.name)
            if match and entry.stat(follow_symlinks=False).st_uid == os.getuid() and not is_alive(int(match[1])):
                _remove_unlocked(entry)


def _remove_unlocked(entry):
    """Remove a file or directory unless somebody holds its lock, or nobody can tell: maybe a process of another machine."""
    with contextlib.suppress(OSError):
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
        finally:
            os.close(descriptor)


def is_alive(pid):
    """Whether this machine has a process of that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
