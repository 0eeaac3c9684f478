"""Write files and directories atomically, with temporary ones that are cleaned up even after a kill."""
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

_FILE = re.compile(r'\..*\.(\d+)\.\d+\.tmp', re.S)                # of `write_atomically`; the first number is the process id
_TEMPORARY = re.compile(r'mobile-backbones-(\d+)-\w{8}')
_claims, _swept = {}, set()                # {path: (descriptor that holds its lock, process)}; directories already swept

_LITTLE = 2 ** 20                                                  # bytes; with less free space a disk counts as full
_FULL = re.compile(r'(?i)no space left|disk quota|enospc')         # in messages of other programs
_UNWRITTEN = re.compile(r'(?i)iostream error|ios_base|failed to (write|open|save)|(write|save|open)\w* failed')


def unused(path):
    """`path`, with a number appended to its stem if it exists already."""
    candidates = (path if n == 1 else path.with_name(f'{path.stem}-{n}{path.suffix}') for n in range(1, 1000))
    return next(candidate for candidate in candidates if not candidate.exists())


def write_atomically(path, write, advice='Choose another file.'):
    """Write a file by `write(temporary)` next to `path`, sync it and rename it: a reader sees either the old file or the new
    one. It gets the mode of any new file, whatever `write` sets.

    Raises:
        UserError: it cannot be written, for lack of space or permission. `advice` is the end of the message.
    """
    path = Path(path)
    # Shortened, because file names have a maximal length.
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
    except BrokenPipeError:                                        # the output's reader is gone; not an error of the file
        raise
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror or error}. {advice}') from None
    finally:
        _release(temporary)
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_space(message, *places):
    """Raise OSError if `message`, from a program that failed, may mean that a disk is full: that of `places` or of temporary
    files. C++ streams give no reason themselves."""
    full, scratch = os.strerror(errno.ENOSPC), tempfile.gettempdir()
    if _FULL.search(message) or any(shutil.disk_usage(place).free < _LITTLE for place in places):
        raise OSError(errno.ENOSPC, full)
    if shutil.disk_usage(scratch).free < _LITTLE:
        raise OSError(errno.ENOSPC, f'{full} for temporary files ({scratch}, or set TMPDIR)')
    if _UNWRITTEN.search(message):
        reason = ' '.join(message.split())[:200]
        raise OSError(errno.EIO, f'a file could not be written ({reason}); is the disk full or write-protected?')


def check_new(path, what, foreign=None, force=False):
    """Raise UserError unless `path` can be a new directory: it must not exist, or be empty.

    Args:
        what: what will be written there, for the message.
        foreign: function of a directory; says in words why it, or something in it, is not of this library, else ''.
        force: allow to replace the directory, unless it is foreign.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_dir():
        raise UserError(f'{path} is a file; wanted a directory that does not exist yet')
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not force:
        by_force = ', or replace it with --force' if foreign and not foreign(target) else ''
        raise UserError(f'{path} exists and is not empty; {what} never overwrites. Remove it or choose another one{by_force}.')
    if problem := foreign(target):
        raise UserError(f'{path} exists and {problem}, so it is not replaced. Remove it or choose another one.')


@contextlib.contextmanager
def new_directory(path, kind, foreign=None, force=False):
    """A temporary directory next to `path`, which is moved to `path` at the end of the block. After an error nothing is left.

    Args:
        kind: what the directory holds, for messages.
        foreign, force: as in `check_new`. An old directory at `path` is kept until the new one is complete.
    Raises:
        UserError: something is at `path` already, or it cannot be written.
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
                check_new(target, f'an {kind}', foreign, force)    # it may have been created meanwhile
                _put(ready, target, workplace / 'before')
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f'cannot write the {kind} {target}: {error.strerror or error}. Choose another directory.') from error


def _put(ready, target, before):
    """Rename `ready` to `target`, and an existing `target` to `before`."""
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
    """Move an existing directory at `path` out of the way while the block writes a new one. It is removed at the end, or
    restored after an error."""
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
    """A new temporary directory, removed at the end of the block."""
    path = make_temporary()
    try:
        yield path
    finally:
        remove_temporary(path)


def make_temporary():
    """Create a temporary directory; remove it by `remove_temporary`. Also removes those of processes that were killed."""
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
    """Create an empty file and lock it. Returns the mode that new files get here."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    mode = os.fstat(descriptor).st_mode & 0o777
    _keep(path, descriptor)
    return mode


def _claim_directory(path):
    with contextlib.suppress(OSError):                             # Windows opens no directories
        _keep(path, os.open(path, os.O_RDONLY))
    return path


def _keep(path, descriptor):
    """Lock the file of a descriptor until `_release`, if the system and the file system support locks."""
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
    """Remove files that threads are still writing when the process ends."""
    for path, (_, owner) in list(_claims.items()):
        if owner == os.getpid():
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.unlink()


def remove_halves(directory):
    """Remove temporary files of `write_atomically` that killed processes have left in a directory."""
    _sweep(directory, _FILE)


def _sweep(directory, pattern, again=False):
    """Remove leftovers of killed processes from a directory: entries whose name matches, whose process id is not in use on this
    machine, and that are not locked. Each directory is swept only once, unless `again`."""
    if fcntl is None or not again and (directory, pattern) in _swept:
        return
    _swept.add((directory, pattern))
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            match = pattern.fullmatch(entry.name)
            if match and entry.stat(follow_symlinks=False).st_uid == os.getuid() and not is_alive(int(match[1])):
                _remove_unlocked(entry)


def _remove_unlocked(entry):
    """Remove a file or directory, unless it is locked or cannot be locked: a process of another machine may be using it."""
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
    """Whether this machine has a process with this id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
