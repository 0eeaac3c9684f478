"""Files that are there whole or not at all."""
import os
from pathlib import Path

from image_classification.errors import UserError


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
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        write(temporary)
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror or error}. {advice}') from None
    finally:
        if temporary.exists():
            temporary.unlink()
