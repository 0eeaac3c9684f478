"""The visitors' pictures: files in a temporary folder of their own, which no visitor can look out of."""
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

ALIAS = '/pictures'                                                # what a visitor is told instead of the folder's path
TYPES = {'.jpeg': 'image/jpeg', '.png': 'image/png', '.webp': 'image/webp', '.gif': 'image/gif', '.bmp': 'image/bmp'}


class PictureStore:
    """A new temporary folder, until the end of the `with` block.

    Args:
        max_pixels: width times height of a picture.
        max_mb: MiB of all pictures together; for a new one the oldest are deleted.
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
        """The bytes of an image file -> the path below ALIAS under which it is found.

        Raises:
            HTTPException: no image of the FORMATS (400), too many pixels (413).
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
        """The file that a path below ALIAS means; None where there is none, or where it is not below the folder."""
        if not isinstance(path, str) or not path.startswith(f'{ALIAS}/') or '\0' in path:
            return None
        try:
            file = (self.folder / path.removeprefix(f'{ALIAS}/')).resolve()
            return file if file.is_relative_to(self.folder) and file.is_file() and file.suffix in TYPES else None
        except OSError:                                            # a name that is too long
            return None

    def open(self, path):
        """The file of a real path as an upright PIL image. Raises UserError: it is not one of these pictures, or deleted."""
        file = Path(path).resolve()
        if not file.is_relative_to(self.folder) or not file.is_file():
            raise UserError('this picture is not here any more; choose it again')
        return open_image(io.BytesIO(file.read_bytes()), 3, FORMATS, self._max_pixels)

    def hide(self, data):
        """Bytes of an answer with ALIAS for the folder."""
        return data.replace(os.fsencode(self.folder), ALIAS.encode())

    def sweep(self, wanted=0):
        """Delete what is too old, and the oldest until there is room for `wanted` bytes."""
        places = sorted((_written(place), place) for place in self.folder.iterdir())
        sizes = {place: _size(place) for _, place in places}
        total, oldest = sum(sizes.values()) + wanted, time.time() - self._keep_seconds
        for written, place in places:
            if written < oldest or total > self._max_bytes:
                shutil.rmtree(place, ignore_errors=True)
                total -= sizes[place]


def _written(place):
    with contextlib.suppress(FileNotFoundError):                   # another thread sweeps, too
        return place.stat().st_mtime
    return 0.0


def _size(place):
    """Bytes of the files in a directory."""
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in place.iterdir())
    return 0
