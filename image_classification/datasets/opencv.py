"""DATA.BACKEND opencv: OpenCV decodes parts of JPEG files for training and resizes them, several times as fast as Pillow.

Both decode with libjpeg-turbo, to the same numbers. They resize differently: Pillow averages over more pixels the more it
shrinks, OpenCV always uses the nearest 2 x 2 (bilinear), 4 x 4 (bicubic) or 8 x 8 (lanczos). The decoder halves the part as
often as it can. If the rest must still shrink to less than a half, OpenCV averages areas.
"""
import io

import numpy as np
from PIL import Image

from image_classification.datasets import images
from image_classification.errors import missing_package

_FILTERS = {'nearest': 'INTER_NEAREST', 'bilinear': 'INTER_LINEAR', 'bicubic': 'INTER_CUBIC', 'lanczos': 'INTER_LANCZOS4'}
# Markers of JPEG segments: those that may come before the image's size, and those that contain it.
_HARMLESS = {0xdb, 0xc4, 0xdd, 0xfe, *range(0xe0, 0xf0)} - {0xe1}   # tables, comments, application segments except EXIF
_FRAMES = {0xc0, 0xc1, 0xc2}               # baseline, extended, progressive


def package():
    """The module cv2, set to one thread. Raises UserError if it is not installed."""
    try:
        import cv2
    except ImportError:
        raise missing_package('DATA.BACKEND is opencv (another is pillow), but the package cv2', 'opencv') from None
    cv2.setNumThreads(0)                   # each worker process has a core to itself
    return cv2


def open_to_crop(file, channels, interpolation):
    """An `OpenCVJpeg` for an ordinary RGB JPEG file. `images.open_to_crop` opens other files, and reports unreadable ones."""
    if channels == 3 and interpolation in _FILTERS:
        try:
            with open(file, 'rb') as stream:
                data = stream.read()
            size = _size(data) or _size_by_pillow(data)
            if size:
                return OpenCVJpeg(file, data, size, interpolation)
        except Exception:
            pass
    return images.open_to_crop(file, channels)


class OpenCVJpeg:
    """The bytes of a JPEG file from which a part can be read; `size` is its (width, height)."""

    def __init__(self, file, data, size, interpolation):
        self.file, self.data, self.size, self.interpolation = file, data, size, interpolation

    def part(self, box, size):
        """The part in `box` (left, top, right, bottom), resized to (size, size, 3) uint8, RGB. If OpenCV cannot decode the
        file, `images.open_to_crop` gives a PIL image or reports the damage."""
        try:
            part = _decoded(np.frombuffer(self.data, np.uint8), box, size, self.interpolation)
        except Exception:
            part = None
        return images.open_to_crop(self.file, 3).part(box, size) if part is None else part


def mirrored(pixels, upside_down=False):
    """Mirror (H, W, C) uint8 left to right, or top to bottom if `upside_down`, in a twentieth of numpy's time."""
    return package().flip(pixels, 0 if upside_down else 1)


def look_up(pixels, tables):
    """Look up each channel's pixels in its table: (B, H, W, C) uint8, tables (C, 256, 1) float32 -> (B, C, H, W) float32."""
    cv2 = package()
    out = np.empty((len(pixels), pixels.shape[3], *pixels.shape[1:3]), np.float32)
    for image, result in zip(pixels, out):
        for channel, table, plane in zip(cv2.split(image), tables, result):
            cv2.LUT(channel, table, plane)
    return out


def _size(data):
    """(width, height) of an ordinary RGB JPEG file, given its bytes, in a twentieth of Pillow's time. None if it has EXIF data
    or anything else out of the ordinary. Raises IndexError if the header is cut off."""
    place = 2
    while data[place] == 0xff and data[place + 1] in _HARMLESS:
        place += 2 + int.from_bytes(data[place + 2:place + 4], 'big')
    kind, precision, components = data[place + 1], data[place + 4], data[place + 9]
    height, width = (int.from_bytes(data[place + i:place + i + 2], 'big') for i in (5, 7))
    ordinary = data[:2] == b'\xff\xd8' and data[place] == 0xff and kind in _FRAMES and (precision, components) == (8, 3)
    return (width, height) if ordinary and 0 < width * height <= (Image.MAX_IMAGE_PIXELS or 0) else None


def _size_by_pillow(data):
    with images.quietly_opened(io.BytesIO(data)) as image:
        return image.size if image.mode == 'RGB' and images.is_plain_jpeg(image) else None


def _decoded(data, box, size, interpolation):
    """The part in `box` of a JPEG file, given its bytes, as (size, size, 3) uint8; None if the file is damaged."""
    cv2 = package()
    shrink = images.reduction(box, size)
    rgb = hasattr(cv2, 'IMREAD_COLOR_RGB')                         # since OpenCV 4.11
    flag = cv2.IMREAD_COLOR if shrink == 1 else getattr(cv2, f'IMREAD_REDUCED_COLOR_{shrink}')
    if rgb:
        flag ^= cv2.IMREAD_COLOR ^ cv2.IMREAD_COLOR_RGB
    whole = cv2.imdecode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if whole is None:
        return None
    left, top, right, bottom = images.reduced(box, shrink)
    filter = 'INTER_AREA' if max(right - left, bottom - top) > 2 * size else _FILTERS[interpolation]
    part = cv2.resize(whole[top:bottom, left:right], (size, size), interpolation=getattr(cv2, filter))
    return part if rgb else cv2.cvtColor(part, cv2.COLOR_BGR2RGB)
