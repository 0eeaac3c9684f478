"""Visitors' pictures, kept in a temporary folder. Visitors cannot reach files outside it."""
import contextlib
import io
import os
import secrets
import shutil
import time
from pathlib import Path

from PIL import Image

from image_classification.datasets.images import open_image
from image_classification.deploy.serving.uploads import FORMATS, decode
from image_classification.errors import UserError
from image_classification.files import make_temporary, remove_temporary

ALIAS = '/pictures'                                                # replaces the folder's path in answers to visitors
TYPES = {'.jpeg': 'image/jpeg', '.png': 'image/png', '.webp': 'image/webp', '.gif': 'image/gif', '.bmp': 'image/bmp'}


class PictureStore:
    """A new temporary folder, deleted at the end of the `with` block.

    Args:
        max_pixels: largest width times height of a picture.
        max_mb: largest size of all pictures together, in MiB. The oldest are deleted to make room for a new one.
        keep_minutes: older pictures are deleted when a new one comes.
    """

    def __init__(self, max_pixels, max_mb, keep_minutes):
        self.folder = make_temporary().resolve()
        self._max_pixels, self._max_bytes, self._keep_seconds = max_pixels, max_mb * (1 << 20), 60 * keep_minutes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        remove_temporary(self.folder)

    def add(self, data):
        """Store the bytes of an image file. Returns its path below ALIAS.

        Raises:
            HTTPException: not an image in one of FORMATS (400), or too many pixels (413).
        """
        decode(data, 3, self._max_pixels)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            name = f'picture.{image.format.lower()}'
        self.sweep(len(data))
        place = self.folder / secrets.token_hex(16)
        place.mkdir()
        (place / name).write_bytes(data)
        return f'{ALIAS}/{place.name}/{name}'

    def find(self, path):
        """The file for a path below ALIAS; None if it does not exist or is outside the folder."""
        if not isinstance(path, str) or not path.startswith(f'{ALIAS}/') or '\0' in path:
            return None
        try:
            file = (self.folder / path.removeprefix(f'{ALIAS}/')).resolve()
            return file if file.is_relative_to(self.folder) and file.is_file() and file.suffix in TYPES else None
        except OSError:                                            # the name is too long
            return None

    def open(self, path):
        """The picture at a real path as an upright PIL image. Raises UserError if it is not in the folder or was deleted."""
        file = Path(path).resolve()
        if not file.is_relative_to(self.folder) or not file.is_file():
            raise UserError('this picture is not here any more; choose it again')
        return open_image(io.BytesIO(file.read_bytes()), 3, FORMATS, self._max_pixels)

    def hide(self, data):
        """Replace the folder's path in the bytes of an answer by ALIAS."""
        return data.replace(os.fsencode(self.folder), ALIAS.encode())

    def sweep(self, wanted=0):
        """Delete pictures that are too old, then the oldest ones until there is room for `wanted` bytes."""
        places = sorted((_written(place), place) for place in self.folder.iterdir())
        sizes = {place: _size(place) for _, place in places}
        total, oldest = sum(sizes.values()) + wanted, time.time() - self._keep_seconds
        for written, place in places:
            if written < oldest or total > self._max_bytes:
                shutil.rmtree(place, ignore_errors=True)
                total -= sizes[place]


def _written(place):
    with contextlib.suppress(FileNotFoundError):                   # another thread may sweep, too
        return place.stat().st_mtime
    return 0.0


def _size(place):
    """The size in bytes of the files in a directory."""
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in place.iterdir())
    return 0
