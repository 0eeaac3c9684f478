"""Checks pictures before work that needs all of them, so that unreadable ones are found in seconds, not after an epoch."""
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from image_classification.datasets.files import FileDataset
from image_classification.datasets.images import open_image
from image_classification.errors import UserError
from image_classification.progress import progress_bar

WHOLE = 64 << 20                           # bytes: smaller data sets are decoded; of larger ones only headers and ends are read
SHOWN = 10
_THREADS, _CHUNK, _LONG = 8, 64, 5.0       # _LONG: seconds after which the log gives the time
_ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xae\x42\x60\x82'}


def check_pictures(dataset, group):
    """Raise UserError, in all processes of `group`, if pictures of a data set cannot be read. The message gives their number
    and names up to ten.

    Returns:
        lines for the log: how long the check took, if it took long.
    """
    if not isinstance(dataset, FileDataset):                       # in memory already
        return []
    begun = time.monotonic()
    faults = find_faults(dataset, range(group.rank, len(dataset), group.world_size), group.is_main)
    faults = sorted(fault for found in group.gather_objects(faults) for fault in found)
    if faults:
        shown = '; '.join(text for _, text in faults[:SHOWN]) + ('; ...' if faults[SHOWN:] else '')
        raise UserError(f'{len(faults)} of {len(dataset)} pictures to evaluate cannot be read; repair or remove them: {shown}')
    seconds = time.monotonic() - begun
    return [f'checked {len(dataset):,} pictures for evaluation in {seconds:.0f} s'] if seconds > _LONG else []


def find_faults(dataset, indices, shown=False):
    """[(index, reason)] of the unreadable pictures among `indices` of a FileDataset."""
    sample = [dataset.path(int(i)) for i in np.linspace(0, len(dataset) - 1, min(len(dataset), 1000)).astype(int)]
    whole = np.mean([_size(path) for path in sample]) * len(dataset) <= WHOLE
    chunks = [indices[start:start + _CHUNK] for start in range(0, len(indices), _CHUNK)]

    def look(chunk):
        return [(index, text) for index in chunk if (text := fault(dataset.path(index), dataset.channels, whole))]
    pool, found = ThreadPoolExecutor(_THREADS, 'check'), []
    try:
        for part in progress_bar(pool.map(look, chunks), len(chunks), 'check pictures', enabled=shown, leave=False):
            found += part
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def fault(path, channels, whole=True):
    """Why a picture cannot be read, or '' if it can. Unless `whole`, only the header and the end of the file are checked."""
    if not whole and _looks_complete(path):
        return ''
    try:
        open_image(path, channels)
    except UserError as error:
        return str(error)
    return ''


def _looks_complete(path):
    try:
        with open(path, 'rb') as file, Image.open(file) as image:
            end = _ENDS.get(image.format)
            if end is None:
                return False
            file.seek(-len(end), os.SEEK_END)
            return file.read() == end
    except Exception:                      # Pillow's readers raise nearly anything on damaged files
        return False


def _size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
