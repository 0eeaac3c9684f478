"""Reads image files in any format that Pillow reads, as 8-bit grey, RGB or RGBA.

`open_image` decodes a whole file. `open_to_crop` opens a file to read one part: the caller chooses a box by the image's `size`,
and `part` decodes no more than that box needs.
"""
import contextlib
import io
import os
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from image_classification.datasets import kinds
from image_classification.datasets.samples import BITS, bits_said, is_deep, to_8_bit, whole_samples
from image_classification.errors import UserError
from image_classification.names.text import shown

MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}      # channels: Pillow's mode


class TooManyPixels(UserError):
    """An image that could exhaust the memory once it is decoded."""


def open_image(file, channels=3, formats=None, max_pixels=None):
    """A fully loaded PIL image with `channels` channels, rotated according to its EXIF orientation.

    Args:
        file: a path, or a binary file opened for reading. The first frame of an animation is read.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        formats: Pillow's names of the accepted formats; by default all that it reads.
        max_pixels: a limit on width times height, checked before anything is decoded; by default twice Pillow's own.
    Raises:
        UserError: the file is missing, empty, truncated, not an image, or too large to be safe (`TooManyPixels`). The message
            names the file and the reason.
    """
    with _named_errors(file, formats), _header(file, formats) as image:
        if max_pixels is not None and image.width * image.height > max_pixels:
            raise TooManyPixels(f'{_name(file)} has {image.width} x {image.height} pixels; wanted at most {max_pixels} in all. '
                                'Scale it down')
        image = _loaded(image, file)
    return _upright(image, channels, _name(file))


def as_image(image, channels):
    """A PIL image, rotated according to its EXIF orientation.

    Args:
        image: a path, the bytes of a file, a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in RGB, or a PIL image,
            which is not changed.
    Raises:
        UserError: `image` is none of these; also as `open_image`.
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
    with _named_errors(image):
        image.load()
        if orientation(image) != 1:
            image = ImageOps.exif_transpose(image)                 # a copy: the caller's stays as it is
    return _converted(image, channels, _name(image))


def _from_array(array):
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)) or not array.size:
        raise UserError(f'an array {array.shape} of {array.dtype} is no image; wanted uint8 (H, W), (H, W, 1), (H, W, 3) or '
                        '(H, W, 4)')
    return Image.fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array)


def open_to_crop(file, channels):
    """A `PlainJpeg` for a JPEG file, of which only the header is read yet; a `Decoded` image for any other file.

    Raises:
        UserError: as `open_image`. If a JPEG file is damaged after its header, `part` raises it.
    """
    with _named_errors(file):
        image = _header(file)
        if is_plain_jpeg(image):
            return PlainJpeg(file, image, channels)
        with image:
            image = _loaded(image, file)
    return Decoded(_upright(image, channels, _name(file)))


class Decoded:
    """A PIL image in memory."""

    def __init__(self, image):
        self.image, self.size = image, image.size

    def part(self, box, size):
        """The part in `box` (left, top, right, bottom) as a PIL image, in full resolution whatever `size` is."""
        return self.image.crop(box)


class PlainJpeg:
    """An opened JPEG file from which one part can be read; `size` is its (width, height)."""

    def __init__(self, file, image, channels):
        self.file, self.image, self.channels, self.size = file, image, channels, image.size

    def part(self, box, size):
        """The part in `box` (left, top, right, bottom) as a PIL image. Closes the file.

        The file is decoded at 1/2, 1/4 or 1/8 of its width and height if the part then still has at least `size` pixels on each
        side. libjpeg takes less time for that than for the whole, and shrinks well. The box is rounded to the smaller image's
        pixels.
        """
        shrink = reduction(box, size)
        with _named_errors(self.file), self.image as image:
            if shrink > 1:
                image.draft(None, (image.width // shrink, image.height // shrink))
                box = reduced(box, shrink)
            image.load()
            return convert(image.crop(box), self.channels)


def is_plain_jpeg(image):
    """Whether an opened PIL image is a grey or RGB JPEG that its EXIF orientation does not rotate."""
    return image.format == 'JPEG' and image.mode in ('L', 'RGB') and orientation(image, damaged=0) == 1


def orientation(image, damaged=1):
    """The EXIF orientation of a PIL image: 1 is upright. Returns `damaged` if the EXIF data cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return damaged


def reduction(box, size):
    """1, 2, 4 or 8: the largest divisor of a box's sides that leaves at least `size` pixels on each."""
    left, top, right, bottom = box
    return max(n for n in (1, 2, 4, 8) if n == 1 or min(right - left, bottom - top) >= n * size)


def reduced(box, shrink):
    """The box in an image that was decoded at 1 / shrink of its width and height. Rounding never makes a side too short."""
    return tuple((2 * value + shrink) // (2 * shrink) for value in box)


def _name(file):
    """The name of a path, a stream or a PIL image in messages."""
    if isinstance(file, (str, os.PathLike)):
        return shown(os.fspath(file))
    name = getattr(file, 'name', '') or getattr(file, 'filename', '')
    return shown(name) if isinstance(name, str) and name else 'the image' if isinstance(file, Image.Image) else 'the file'


def _header(file, formats=None):
    """A PIL image of which only the header is read. The caller closes it."""
    if isinstance(file, (str, os.PathLike)) and os.path.getsize(file) == 0:
        raise UserError(f'{_name(file)} is empty (0 bytes); wanted an image')
    kinds.endings()                        # registers the formats of other packages with Pillow
    return quietly_opened(file, formats)


def quietly_opened(file, formats=None):
    """Image.open without two of Pillow's warnings: about pictures of 90 to 179 megapixels, which are read (larger ones are an
    error), and about damaged data beside good pixels. A filter that a program has set for the first stays in force."""
    # Not catch_warnings: when it ends, Python forgets which other warnings it has shown already.
    if not any(category is Image.DecompressionBombWarning for _, _, category, _, _ in warnings.filters):
        warnings.filterwarnings('ignore', category=UserWarning, module=r'PIL\.')
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
    return Image.open(file, formats=formats)


def _loaded(image, file):
    """Load the pixels of an opened PIL image, at their full depth if Pillow would drop significant bits."""
    if not is_deep(image):
        image.load()
        return image
    with _stream(file) as stream:
        image.info[BITS] = bits_said(image, stream)
    image.load()
    if image.mode[0] in 'IF':
        return image                       # `convert` scales them
    with _stream(file) as stream, quietly_opened(stream) as again:
        whole = whole_samples(image, again, image.info[BITS], _name(file))
    if whole is None:
        return image
    whole.info = image.info
    return whole


def _stream(file):
    """A separate stream of the file's content, at its beginning."""
    if isinstance(file, (str, os.PathLike)):
        return open(file, 'rb')
    place = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(place)
    return io.BytesIO(data)


@contextlib.contextmanager
def _named_errors(file, formats=None):
    """Turn any error in reading a file into one UserError that names the file."""
    name = _name(file)
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError:
        wanted = f'a {", ".join(formats)}' if formats else 'an image'
        kind = '' if formats else kinds.real_kind(file)
        if kind and f'.{kind.lower()}' not in kinds.endings():
            raise UserError(f'{name} is {kind} by its content, which is not read here. '
                            f'{kinds.advice([f".{kind.lower()}"])}') from None
        if kinds.is_picture(name) and not kinds.is_read(name):
            ending = os.path.splitext(name)[1].lower()
            raise UserError(f'{name} is of a kind that is not read here ({ending}). {kinds.advice([ending])}') from None
        raise UserError(f'{name} is no image that Pillow reads (damaged, or not {wanted} at all)') from None
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
    return _converted(image, channels, name)


def _converted(image, channels, name):
    try:
        return convert(image, channels, name)
    except (ValueError, OSError) as error:
        raise UserError(f'{name} of mode {image.mode} cannot be converted to {MODES[channels]}: {error}') from None


def convert(image, channels, name='an image'):
    """Convert a PIL image of any mode to L, RGB or RGBA. `name` appears in the warning about samples of more than 8 bits
    (`samples.py`).

    Transparency is dropped, as in torchvision and timm: the stored colours stay, and nothing is composited.
    """
    mode = MODES[channels]
    if image.mode == mode:
        return image
    if image.mode[0] in 'IF':              # I, I;16, I;16B, F, ...: Pillow would clip these at 255 instead of scaling
        image = Image.fromarray(to_8_bit(np.asarray(image), image.info.get(BITS, 0), name))
    elif image.mode in ('P', 'PA', 'La', 'RGBa'):
        image = image.convert('RGBA')      # a palette's transparency may have no meaning in the wanted mode
    return image.convert(mode)
