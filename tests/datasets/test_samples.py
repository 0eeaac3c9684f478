"""What white is in pictures of more than 8 bits."""
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from image_classification.datasets import samples
from image_classification.datasets.images import as_image, convert, open_image

RAMP = [0, 51, 102, 153, 204, 255]


def ramp(most, dtype=np.uint16):
    values = np.linspace(0, most, 6)
    return (values if dtype == np.float32 else values.round()).astype(dtype)[None]


def png(pixels, bits=0):
    """A PNG file of 16 bits, grey (H, W) or RGB (H, W, 3), with an sBIT chunk of so many."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    height, width = pixels.shape[:2]
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)
    said = chunk(b'sBIT', bytes([bits] * (3 if pixels.ndim == 3 else 1))) if bits else b''
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 16, 2 * (pixels.ndim == 3), 0, 0, 0)) \
        + said + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(samples, '_said', bytearray(64))


@pytest.mark.parametrize('most, is_said', [(1.0, False), (1.02, True), (255.0, False), (300.0, True), (4095.0, True)])
def test_floats_are_scaled_by_their_largest(capsys, most, is_said):
    found = np.asarray(convert(Image.fromarray(ramp(most, np.float32)), 1, 'a.tif'))[0]
    assert found[0] == 0 and found[-1] == 255 and abs(found.astype(int) - RAMP).max() <= (45 if most == 300 else 4)
    assert capsys.readouterr().err.startswith('warning: a.tif has samples up to') == is_said


@pytest.mark.parametrize('colour', [False, True])
@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
def test_few_bits_in_a_file_of_16_are_not_black_and_it_says_so_once(tmp_path, capsys, bits, colour):
    pixels = ramp(2 ** bits - 1)
    pixels = np.repeat(pixels[..., None], 3, 2) if colour else pixels
    data = png(pixels)
    (tmp_path / 'a.png').write_bytes(data)
    for source in (tmp_path / 'a.png', data):
        assert np.asarray(as_image(source, 1)).tolist() == [RAMP]
    expected = f'warning: {tmp_path}/a.png has samples up to {2 ** bits - 1}; white is taken to be {2 ** bits - 1}'
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(',')[0] for line in said] == [expected] * (bits < 16)


def test_processes_that_load_images_do_not_say_it_again(monkeypatch, capfd):
    monkeypatch.setattr(samples, '_said', samples.mmap.mmap(-1, 64))
    for _ in range(2):
        child = os.fork()
        if not child:
            try:
                convert(Image.fromarray(ramp(4095)), 1)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert capfd.readouterr().err.count('warning') == 1


def test_what_the_file_says_of_its_bits_counts():
    dark = ramp(600)
    assert np.asarray(open_image(io.BytesIO(png(dark, 12)), 1)).max() == 37      # 600 of 4095
    padded = ramp(240) * 16                                        # 12 bits written to 16, as PNG asks for: up to 3840 of 65535
    assert np.asarray(open_image(io.BytesIO(png(padded, 12)), 1)).max() == 15
    assert np.asarray(open_image(io.BytesIO(png(ramp(65535), 12)), 1)).tolist() == [RAMP]


@pytest.mark.parametrize('compression', [1, 5])                    # none, LZW
def test_a_tiff_in_colour_is_scaled_alike(tmp_path, compression):
    cv2 = pytest.importorskip('cv2')
    pixels = np.repeat(ramp(4095)[..., None], 3, 2)
    cv2.imwrite(str(tmp_path / 'a.tif'), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert np.asarray(open_image(tmp_path / 'a.tif'))[..., 1].tolist() == [RAMP]


@pytest.mark.parametrize('options', [{}, {'compression': 'tiff_lzw'}, {'tiffinfo': {281: 4095}}])
def test_a_tiff_is_scaled_alike(tmp_path, options):
    Image.fromarray(ramp(4095)).save(tmp_path / 'a.tif', **options)
    assert np.asarray(open_image(tmp_path / 'a.tif', 1)).tolist() == [RAMP]
    Image.fromarray(ramp(1000)).save(tmp_path / 'b.tif', **options)
    assert np.asarray(open_image(tmp_path / 'b.tif', 1)).max() == (62 if 'tiffinfo' in options else 249)


def test_a_pgm_has_its_own_maximum(tmp_path):
    (tmp_path / 'a.pgm').write_bytes(b'P5 6 1 4095\n' + ramp(1000).astype('>u2').tobytes())
    assert np.asarray(open_image(tmp_path / 'a.pgm', 1)).max() == 62


def test_a_black_picture_is_black_and_nothing_is_said(capsys):
    for dtype in (np.uint16, np.float32, np.int32):
        assert not np.asarray(convert(Image.fromarray(np.zeros((2, 2), dtype)), 1)).any()
    assert not capsys.readouterr().err
