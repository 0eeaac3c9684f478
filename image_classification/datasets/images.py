"""Image files in: whatever Pillow reads, as 8-bit grey, RGB or RGBA.

`open_image` decodes a file. `open_to_crop` opens it for one part: the caller sees its `size`, chooses a box, and `part` decodes
no more than that box needs.
"""
import contextlib
import io
import os

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from image_classification.errors import UserError

MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}      # channels: Pillow's mode


class TooManyPixels(UserError):
    """An image that could exhaust the memory once it is decoded."""


def open_image(file, channels=3, formats=None, max_pixels=None):
    """A fully loaded PIL image of `channels` channels, turned upright by its EXIF orientation.

    Args:
        file: a path, or a binary file opened for reading. Of an animation, the first frame is read.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        formats: Pillow's names of the formats that are admitted; by default all that it reads.
        max_pixels: a limit on width times height, checked before anything is decoded; by default twice Pillow's own.
    Raises:
        UserError: the file is missing, empty, truncated, no image, or too large to be safe (`TooManyPixels`); names it and
            the reason.
    """
    with _named_errors(file, formats), _header(file, formats) as image:
        if max_pixels is not None and image.width * image.height > max_pixels:
            raise TooManyPixels(f'{_name(file)} has {image.width} x {image.height} pixels; wanted at most {max_pixels} in all. '
                                'Scale it down')
        image.load()
    return _upright(image, channels, _name(file))


def as_image(image, channels):
    """A PIL image as it is, or of a path, the bytes of a file, or a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises:
        UserError: something else, or as `open_image`.
    """
    if isinstance(image, (str, os.PathLike)):
        return open_image(image, channels)
    if isinstance(image, (bytes, bytearray)):
        return open_image(io.BytesIO(image), channels)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if not isinstance(image, Image.Image):
        raise UserError(f'a {type(image).__name__} is no image; wanted a path, the bytes of a file, a PIL image or a uint8 '
                        'array (H, W, C)')
    return image


def _from_array(array):
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)) or not array.size:
        raise UserError(f'an array {array.shape} of {array.dtype} is no image; wanted uint8 (H, W), (H, W, 1), (H, W, 3) or '
                        '(H, W, 4)')
    return Image.fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array)


def open_to_crop(file, channels):
    """The `PlainJpeg` of a JPEG file, of which only the header is read yet; any other file as `Decoded`.

    Raises:
        UserError: as `open_image`; a JPEG file that is damaged behind its header, in `part`.
    """
    with _named_errors(file):
        image = _header(file)
        if is_plain_jpeg(image):
            return PlainJpeg(file, image, channels)
        with image:
            image.load()
    return Decoded(_upright(image, channels, _name(file)))


class Decoded:
    """A PIL image in memory."""

    def __init__(self, image):
        self.image, self.size = image, image.size

    def part(self, box, size):
        """PIL image of what is in `box` (left, top, right, bottom), all its pixels, whatever `size` is."""
        return self.image.crop(box)


class PlainJpeg:
    """An opened JPEG file, to take one part of; `size` is its (width, height)."""

    def __init__(self, file, image, channels):
        self.file, self.image, self.channels, self.size = file, image, channels, image.size

    def part(self, box, size):
        """PIL image of what is in `box` (left, top, right, bottom); closes the file.

        It is decoded at 1/2, 1/4 or 1/8 of its width and height where so at least `size` pixels are left on each side: libjpeg
        does so in less time than it decodes the whole, and shrinks well. The box is rounded to the pixels of that image.
        """
        shrink = reduction(box, size)
        with _named_errors(self.file), self.image as image:
            if shrink > 1:
                image.draft(None, (image.width // shrink, image.height // shrink))
                box = reduced(box, shrink)
            image.load()
            return convert(image.crop(box), self.channels)


def is_plain_jpeg(image):
    """Whether an opened PIL image is JPEG, grey or RGB, and not to be turned by its EXIF orientation."""
    try:
        return image.format == 'JPEG' and image.mode in ('L', 'RGB') and image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    except Exception:                      # damaged EXIF data
        return False


def reduction(box, size):
    """1, 2, 4 or 8: by which the sides of a box in pixels can be divided and still have `size`."""
    left, top, right, bottom = box
    return max(n for n in (1, 2, 4, 8) if n == 1 or min(right - left, bottom - top) >= n * size)


def reduced(box, shrink):
    """The box in an image that was decoded at 1 / shrink of its width and height; no side of it loses a pixel by rounding."""
    return tuple((2 * value + shrink) // (2 * shrink) for value in box)


def _name(file):
    return file if isinstance(file, (str, os.PathLike)) else getattr(file, 'name', 'the file')


def _header(file, formats=None):
    """A PIL image of which only the header is read; to be closed."""
    if isinstance(file, (str, os.PathLike)) and os.path.getsize(file) == 0:
        raise UserError(f'{file} is empty (0 bytes); wanted an image')
    return Image.open(file, formats=formats)


@contextlib.contextmanager
def _named_errors(file, formats=None):
    """Whatever goes wrong in reading a file becomes one UserError that names it."""
    name = _name(file)
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError:
        kinds = f'a {", ".join(formats)}' if formats else 'an image'
        raise UserError(f'{name} is no image that Pillow reads (damaged, or not {kinds} at all)') from None
    except Image.DecompressionBombError:
        limit = 2 * Image.MAX_IMAGE_PIXELS
        raise TooManyPixels(f'{name} is too large: more than {limit} pixels could exhaust the memory. Scale it down') from None
    except Exception as error:             # Pillow's decoders raise nearly anything on damaged files, not only OSError
        reason = getattr(error, 'strerror', None) or str(error) or type(error).__name__
        raise UserError(f'{name} cannot be read as an image: {reason}') from None


def _upright(image, channels, name):
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:                      # damaged EXIF data beside good pixels: take the pixels as they are
        pass
    try:
        return convert(image, channels)
    except (ValueError, OSError) as error:
        raise UserError(f'{name} of mode {image.mode} cannot be converted to {MODES[channels]}: {error}') from None


def convert(image, channels):
    """A PIL image of any mode -> mode L, RGB or RGBA.

    Transparency is dropped, as torchvision and timm do: the colours stored below it stay, nothing is composited.
    """
    mode = MODES[channels]
    if image.mode == mode:
        return image
    if image.mode[0] in 'IF':              # I, I;16, I;16B, F, ...: Pillow would clip these at 255 instead of scaling
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    elif image.mode in ('P', 'PA', 'La', 'RGBa'):
        image = image.convert('RGBA')      # a palette's transparency may have no meaning for the mode that is wanted
    return image.convert(mode)


def _to_8_bit(array):
    """Integers are 16-bit samples, 0 to 65535; floats are 0 to 1, or 0 to 255 where any of them is above 1."""
    if array.dtype.kind == 'f':
        array = np.nan_to_num(array, nan=0.0, posinf=255.0, neginf=0.0)
        array = array if array.max() > 1 else array * 255
    else:
        array = array / 257
    return np.clip(np.rint(array), 0, 255).astype(np.uint8)
