"""Files that are there whole or not at all."""
import contextlib
import errno
import os
import re
import shutil
import tempfile
import threading
from pathlib import Path

from image_classification.errors import UserError

_LITTLE = 2 ** 20                                                  # bytes
_FULL = re.compile(r'(?i)no space left|disk quota|enospc')         # in messages of programs
_UNWRITTEN = re.compile(r'(?i)iostream error|ios_base|failed to (write|open|save)|(write|save|open)\w* failed')


def unused(path):
    """`path`, or with a number behind its stem where something has that name already."""
    candidates = (path if n == 1 else path.with_name(f'{path.stem}-{n}{path.suffix}') for n in range(1, 1000))
    return next(candidate for candidate in candidates if not candidate.exists())


def write_atomically(path, write, advice='Choose another file.'):
    """Let `write(temporary)` write a file beside `path`, sync it, rename it: a reader sees the old file or the new one.

    Raises:
        UserError: it cannot be written, for lack of space or of access; `advice` says what to do then.
    """
    path = Path(path)
    # Not longer than the longest name of a file.
    temporary = path.with_name(f'.{path.name[:50]}.{os.getpid()}.{threading.get_ident()}.tmp')
    try:
        write(temporary)
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror or error}. {advice}') from None
    finally:
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


def check_new(path, what):
    """Raise UserError where there is something at `path`, which `what` would have for a directory of its own."""
    target = Path(path).resolve()
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f'{path} exists and is not empty; {what} never overwrites. Remove it or choose another one.')
    if target.exists() and not target.is_dir():
        raise UserError(f'{path} is a file; wanted a directory that does not exist yet')


@contextlib.contextmanager
def new_directory(path, kind):
    """A directory beside `path` to write into, which takes its place at the end of the block; after an error nothing is left.

    Args:
        kind: what the directory holds, for messages.
    Raises:
        UserError: there is something at `path` already, or it cannot be written.
    """
    target = Path(path).resolve()
    check_new(path, f'an {kind}')
    try:
        anchor = next(parent for parent in target.parents if parent.exists())
        with tempfile.TemporaryDirectory(prefix=f'.{target.name}.', dir=anchor, ignore_cleanup_errors=True) as workplace:
            ready = Path(workplace) / 'ready'
            ready.mkdir()
            yield ready
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rmdir()                                     # an empty one: not every system renames onto it
            os.rename(ready, target)
    except OSError as error:
        raise UserError(f'cannot write the {kind} {target}: {error.strerror or error}. Choose another directory.') from error
