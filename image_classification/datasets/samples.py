"""Converts samples with more than 8 bits to 8 bits. The question is which value is white.

For integers, white is 2 ** bits - 1. `bits` is what the file says (a PNG's sBIT chunk, a TIFF's MaxSampleValue), but at least
the fewest of 8, 10, 12, 14, 16, 24 and 32 that hold the largest sample. So a camera's 12 bits in a 16-bit file do not turn
black. For floats, white is 1 if no sample is above 2, which leaves room for sharpening; 255 if none is above 511; else as for
integers. Samples below 0 become black, samples above white become white. If white is not 65535, 1 or 255, a warning says so.
"""
import mmap
import struct
import sys

import numpy as np
from PIL import Image

BITS = 'significant bits'                  # key of a PIL image's info
_STEPS = (8, 10, 12, 14, 16, 24, 32)
_OTHER_BYTE = {';16B': ';16L', ';16L': ';16B', ';16N': ';16B' if sys.byteorder == 'little' else ';16L'}
_said = mmap.mmap(-1, 64)                  # whether white of so many bits was reported; shared with worker processes


def to_8_bit(array, bits=0, name='an image'):
    """Integers or floats of any shape -> uint8.

    Args:
        bits: the number of significant bits according to the file; 0 if unknown.
        name: the image's name in the warning.
    """
    finite = array[np.isfinite(array)] if array.dtype.kind == 'f' else array
    most = finite.max(initial=0)
    if array.dtype.kind != 'f':
        white = _white_of(array, most, bits)
        usual = white == 65535 or most == 0
    else:
        white = 1 if most <= 2 else 255 if most <= 511 else _white_of(array, most, bits)
        usual = most <= 1 or 2 < most <= 255
    if not usual:
        _say(name, most, white)
    return np.clip(np.rint(np.nan_to_num(array * (255 / white), nan=0.0, posinf=255.0, neginf=0.0)), 0, 255).astype(np.uint8)


def _white_of(array, most, bits):
    needed = next((step for step in _STEPS if most < 1 << step), _STEPS[-1])
    if 0 < bits < 16 and needed <= 16 and array.dtype.kind != 'f':
        low = array & ((1 << 16 - bits) - 1)                       # samples that are scaled to 16 bits, as PNG asks for,
        if not low.any() or (low == array >> bits).all():          # end in zeros or in a copy of their first bits
            return 65535
    return (1 << max(needed, bits)) - 1


def _say(name, most, white):
    """Warn once for each value of white: a data set may have thousands of such pictures."""
    slot = int(white).bit_length()
    if not _said[slot]:
        _said[slot] = 1
        print(f'warning: {name} has samples up to {most:g}; white is taken to be {white}, here and in others like it',
              file=sys.stderr, flush=True)


def bits_said(image, stream):
    """The number of significant bits of an opened PIL image according to its file; 0 if the file does not say.

    Args:
        stream: the file, opened for reading, at its beginning; its position changes.
    """
    if image.format == 'PPM':
        return 16                                                  # Pillow has scaled the samples by the file's maximum
    if image.format == 'TIFF':
        most = image.tag_v2.get(281) or image.tag_v2.get(341) or 0             # MaxSampleValue, SMaxSampleValue
        most = max(most) if isinstance(most, tuple) else most
        return int(most).bit_length() if isinstance(most, int) and 255 < most < 65536 else 0
    return _png_bits(stream) if image.format == 'PNG' else 0


def _png_bits(stream):
    stream.seek(8)
    while True:
        head = stream.read(8)
        if len(head) < 8 or head[4:] in (b'IDAT', b'PLTE'):
            return 0
        length, = struct.unpack('>I', head[:4])
        if head[4:] == b'sBIT':
            return max(stream.read(length), default=0)
        stream.seek(length + 4, 1)                                 # the chunk's data and checksum


def is_deep(image):
    """Whether an opened PIL image has samples with more than 8 bits."""
    return image.mode[0] in 'IF' or _rawmode(image).endswith((';16B', ';16L', ';16N'))


def _rawmode(image):
    """Pillow's name for the layout of the samples in the file of an opened PIL image."""
    tile = next(iter(image.tile), None)
    args = tile[3] if tile else ''
    args = args[0] if isinstance(args, tuple) and args else args
    return args if isinstance(args, str) else ''


def whole_samples(image, reopened, bits, name):
    """Convert a 16-bit colour image that uses only few of its bits to an 8-bit PIL image. None if Pillow's own conversion is as
    good.

    Pillow keeps the upper byte of each sample, which leaves 16 shades of 12 significant bits. The lower byte is read from
    `reopened`, the same file opened again, by giving it the opposite byte order.
    """
    order = _rawmode(reopened)[-4:]
    upper = np.asarray(image)
    if image.mode not in ('RGB', 'RGBA', 'LA') or order not in _OTHER_BYTE or upper[..., :3].max() >= 64:
        return None
    tile = reopened.tile[0]
    args = tile[3] if isinstance(tile[3], str) else tile[3][0]
    swapped = args[:-4] + _OTHER_BYTE[order]
    reopened.tile = [(*tile[:3], swapped if isinstance(tile[3], str) else (swapped, *tile[3][1:]))]
    try:
        lower = np.asarray(reopened).astype(np.uint16)
    except (ValueError, OSError, SystemError):                     # Pillow cannot read only that byte
        lower = np.uint16(0)
    samples = upper.astype(np.uint16) << 8 | lower
    colours = samples[..., :3] if image.mode != 'LA' else samples[..., :1]
    pixels = upper.copy()
    pixels[..., :colours.shape[2]] = to_8_bit(colours, bits, name)
    return Image.fromarray(pixels, image.mode) if image.mode != 'LA' else Image.fromarray(pixels)
