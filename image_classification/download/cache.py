"""The cache: where the file of an address lies, what lies beside it, and who may write it."""
import hashlib
import json
import os
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from image_classification.download.addresses import split_address
from image_classification.download.environment import PREFIX
from image_classification.errors import UserError

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:                                                # Windows
    import msvcrt
    flock = None


def cache_directory():
    """The folder of the cache, which need not exist yet."""
    own, base = os.environ.get(PREFIX + 'HOME'), os.environ.get('XDG_CACHE_HOME', '')
    if own:
        return Path(own).expanduser().absolute()
    base = base if os.path.isabs(base) else '~/.cache'             # the XDG specification wants relative paths ignored
    return Path(base).expanduser() / 'paddle_mobile_backbones'


def cached_path(url, name=''):
    """Where `fetch` puts the file of an address, and looks for one put there by hand; it does not depend on the mirror.

    Raises:
        UserError: no http or https address, an address that ends without a file's name, a `name` that is no plain name.
    """
    parts = split_address(url)
    folder, _, last = parts.path.rpartition('/')
    if name and not re.fullmatch(r'[\w+@-][\w.+@ -]*', name):
        raise UserError(f'{name!r} cannot be the name of a file in the cache; wanted letters, digits and ._+@- only')
    file = name or re.sub(r'[^A-Za-z0-9._+@-]', '_', unquote(last)).lstrip('.')[-120:]
    if not file:
        raise UserError(f'{url} ends without the name of a file; give the address of the file itself')
    # The folder tells the many model.safetensors apart. A `name` says nothing of the address, so then all of it counts.
    key = f'{parts.netloc}{parts.path if name else folder}?{parts.query}'
    host = re.sub(r'[^A-Za-z0-9.-]', '_', parts.netloc)
    return cache_directory() / f'{host}-{hashlib.sha256(key.encode()).hexdigest()[:8]}' / file


def read_json(path):
    """The dict in a note; an empty one where it is missing, or broken by a crash while it was written."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def beside(path, ending):
    return path.with_name(path.name + ending)


@contextmanager
def lock(path, name):
    """Hold the lock on a file, waiting for another process if need be. The system frees it if the process dies."""
    with open(path, 'ab') as file:
        if not _try_lock(file):
            print(f'waiting for another process that fetches {name}', file=sys.stderr)
            while not _try_lock(file):
                time.sleep(0.1)
        yield                                                      # then closing the file frees the lock


def _try_lock(file):
    try:
        if flock:
            flock(file, LOCK_EX | LOCK_NB)
        else:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):                     # the latter on Windows
        return False
    return True
