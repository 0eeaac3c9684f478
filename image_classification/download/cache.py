"""The cache: paths of files, notes beside them, and locks."""
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
    base = base if os.path.isabs(base) else '~/.cache'             # the XDG specification says to ignore relative paths
    return Path(base).expanduser() / 'paddle_mobile_backbones'


def cached_path(url, name=''):
    """The path at which `fetch` stores the file of an address; users may put a file there by hand. It does not depend on
    mirrors.

    Raises:
        UserError: `url` is not an http or https address or does not end in a file's name, or `name` is not a plain name.
    """
    parts = split_address(url)
    folder, _, last = parts.path.rpartition('/')
    if name and not re.fullmatch(r'[\w+@-][\w.+@ -]*', name):
        raise UserError(f'{name!r} cannot be the name of a file in the cache; wanted letters, digits and ._+@- only')
    file = name or re.sub(r'[^A-Za-z0-9._+@-]', '_', unquote(last)).lstrip('.')[-120:]
    if not file:
        raise UserError(f'{url} ends without the name of a file; give the address of the file itself')
    # The server's folder distinguishes the many model.safetensors. Several files may get the same `name`, so then the whole
    # address does.
    key = f'{parts.netloc}{parts.path if name else folder}?{parts.query}'
    host = re.sub(r'[^A-Za-z0-9.-]', '_', parts.netloc)
    return cache_directory() / f'{host}-{hashlib.sha256(key.encode()).hexdigest()[:8]}' / file


def read_json(path):
    """The dict in a JSON file; empty if the file is missing, or damaged by a crash while it was written."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def beside(path, ending):
    return path.with_name(path.name + ending)


@contextmanager
def lock(path, name):
    """Hold the lock on a file, after waiting for other processes. The system releases it if this process dies."""
    with open(path, 'ab') as file:
        if not _try_lock(file):
            print(f'waiting for another process that fetches {name}', file=sys.stderr)
            while not _try_lock(file):
                time.sleep(0.1)
        yield                                                      # closing the file releases the lock


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
