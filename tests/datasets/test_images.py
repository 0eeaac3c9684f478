"""Image files of any kind become 8-bit grey, RGB or RGBA."""
import io
import warnings

import numpy as np
import pytest
from PIL import Image

from image_classification.datasets import kinds
from image_classification.datasets.images import MODES, as_image, convert, open_image, open_to_crop, reduced, reduction
from image_classification.errors import UserError

TURNED = b'Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0'


@pytest.mark.parametrize('channels, mode', [(1, 'L'), (3, 'RGB'), (4, 'RGBA')])
@pytest.mark.parametrize('source, ending', [('RGB', 'png'), ('L', 'png'), ('RGBA', 'png'), ('LA', 'png'), ('P', 'gif'),
                                            ('P', 'png'), ('1', 'png'), ('CMYK', 'jpg'), ('CMYK', 'tif'), ('RGB', 'jpg'),
                                            ('L', 'jpg'), ('RGB', 'webp'), ('YCbCr', 'jpg'), ('F', 'tif'), ('I;16', 'png'),
                                            ('I;16', 'tif'), ('I', 'tif')])
def test_every_mode_is_read_as_the_wanted_channels(tmp_path, photo, source, ending, channels, mode):
    file = tmp_path / f'image.{ending}'
    photo().convert('L' if source[0] in 'IF' else 'RGB').convert(source).save(file)
    image = open_image(file, channels)
    assert (image.mode, image.size) == (mode, (20, 12))


@pytest.mark.parametrize('ending', ['png', 'tif', 'pgm'])
def test_16_bit_images_are_scaled_not_clipped(tmp_path, ending):
    samples = np.array([[0, 257, 1000, 32896, 65535]], np.uint16)
    Image.fromarray(samples).save(tmp_path / f'deep.{ending}')
    grey = np.asarray(open_image(tmp_path / f'deep.{ending}', 1))
    np.testing.assert_array_equal(grey, [[0, 1, 4, 128, 255]])


@pytest.mark.parametrize('mode, dtype', [('I;16B', '>u2'), ('I;16L', '<u2'), ('I', 'i4')])
def test_16_bit_samples_of_any_byte_order_are_scaled(mode, dtype):
    image = Image.frombytes(mode, (3, 1), np.array([0, 257 * 7, 65535], dtype).tobytes())
    np.testing.assert_array_equal(np.asarray(convert(image, 1)), [[0, 7, 255]])


def test_floats_are_0_to_1_unless_one_is_above():
    unit = Image.fromarray(np.array([[0.0, 0.2, 1.0, np.nan]], np.float32))
    eight_bit = Image.fromarray(np.array([[0.0, 51.0, 255.0, -3.0]], np.float32))
    np.testing.assert_array_equal(np.asarray(convert(unit, 1)), [[0, 51, 255, 0]])
    np.testing.assert_array_equal(np.asarray(convert(eight_bit, 1)), [[0, 51, 255, 0]])


def test_transparency_is_dropped_and_the_colour_below_it_kept(tmp_path):
    Image.new('RGBA', (4, 4), (10, 200, 30, 0)).save(tmp_path / 'clear.png')
    assert open_image(tmp_path / 'clear.png').getpixel((0, 0)) == (10, 200, 30)
    assert open_image(tmp_path / 'clear.png', 4).getpixel((0, 0)) == (10, 200, 30, 0)


def test_the_transparent_colour_of_a_palette_keeps_its_colour_without_a_warning(tmp_path):
    image = Image.new('P', (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / 'p.png', transparency=bytes([255, 0]))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert open_image(tmp_path / 'p.png').getpixel((0, 0)) == (10, 200, 30)


def test_exif_orientation_is_respected(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6                       # the camera was turned: show it rotated by 90 degrees clockwise
    photo(20, 12).save(tmp_path / 'turned.png', exif=exif)
    image = open_image(tmp_path / 'turned.png')
    np.testing.assert_array_equal(np.asarray(image), np.rot90(np.asarray(photo(20, 12)), -1))


def test_damaged_exif_does_not_cost_the_image(tmp_path, photo):
    photo().save(tmp_path / 'a.png', exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    with warnings.catch_warnings():
        warnings.simplefilter('error')                             # of Pillow, of which nobody knows which file they are about
        assert open_image(tmp_path / 'a.png').size == (20, 12)


def test_a_file_object_is_read_like_a_path(tmp_path, photo):
    photo().save(tmp_path / 'a.png')
    data = io.BytesIO((tmp_path / 'a.png').read_bytes())
    assert open_image(data).tobytes() == open_image(str(tmp_path / 'a.png')).tobytes() == photo().tobytes()


def test_an_opened_image_holds_no_open_file(tmp_path, photo):
    photo().save(tmp_path / 'a.png')
    with warnings.catch_warnings():
        warnings.simplefilter('error', ResourceWarning)
        image = open_image(tmp_path / 'a.png')
        (tmp_path / 'a.png').unlink()
        assert image.getpixel((19, 11)) == photo().getpixel((19, 11))


@pytest.mark.parametrize('ending', ['png', 'jpg', 'gif', 'webp', 'bmp', 'tif'])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path, photo, ending):
    file = tmp_path / f'cut.{ending}'
    photo(64, 48).save(file)
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    with pytest.raises(UserError, match=rf'cut\.{ending} (cannot be read as an image|is no image)'):
        open_image(file)


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / 'empty.jpg').touch()
    with pytest.raises(UserError, match='empty.jpg is empty'):
        open_image(tmp_path / 'empty.jpg')


def test_a_file_that_is_no_image_is_an_error(tmp_path):
    (tmp_path / 'page.jpg').write_text('<html>404</html>')
    with pytest.raises(UserError, match='page.jpg is no image'):
        open_image(tmp_path / 'page.jpg')


def test_a_missing_file_and_a_directory_are_errors(tmp_path):
    with pytest.raises(UserError, match='none.jpg cannot be read as an image: No such file'):
        open_image(tmp_path / 'none.jpg')
    with pytest.raises(UserError, match='cannot be read as an image: Is a directory'):
        open_image(tmp_path)


def test_a_decompression_bomb_is_an_error(tmp_path, photo, monkeypatch):
    photo(64, 48).save(tmp_path / 'bomb.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with pytest.raises(UserError, match='bomb.png is too large: more than 200 pixels'):
        open_image(tmp_path / 'bomb.png')


def test_a_picture_of_90_megapixels_is_read_without_a_word(tmp_path, photo, monkeypatch):
    photo(15, 10).save(tmp_path / 'large.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert open_image(tmp_path / 'large.png').size == open_to_crop(tmp_path / 'large.png', 3).size == (15, 10)
        warnings.simplefilter('error', Image.DecompressionBombWarning)
        with pytest.raises(UserError, match='decompression bomb'):
            open_image(tmp_path / 'large.png')


@pytest.mark.parametrize('name', ['a.heic', 'renamed.jpg'])
def test_a_file_of_a_kind_that_is_not_read_says_how_to_read_it(tmp_path, monkeypatch, name):
    monkeypatch.setattr(kinds, 'endings', lambda: kinds.ALWAYS)
    (tmp_path / name).write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(40))
    for source in (tmp_path / name, (tmp_path / name).read_bytes()):
        with pytest.raises(UserError, match=r"is HEIC by its content, which is not read here. To read HEIC, .*'\.\[heic\]'"):
            as_image(source, 3)


def test_a_camera_s_raw_file_is_named_as_one(tmp_path):
    (tmp_path / 'a.CR3').write_bytes(b'x' * 40)
    with pytest.raises(UserError, match=r'a.CR3 is of a kind that is not read here \(.cr3\). Convert them to JPEG or PNG'):
        open_image(tmp_path / 'a.CR3')


def test_heic_is_read_where_its_package_is_installed(tmp_path):
    pytest.importorskip('pillow_heif')
    assert '.heic' in kinds.endings()
    Image.new('RGB', (64, 48), 'red').save(tmp_path / 'a.heic')
    assert open_image(tmp_path / 'a.heic').size == open_to_crop(tmp_path / 'a.heic', 3).size == (64, 48)


# Pictures in memory

@pytest.mark.parametrize('channels', [1, 3, 4])
def test_a_pil_image_is_turned_like_its_file_and_stays_as_it_is(smooth, channels):
    file = smooth(40, 32, exif=TURNED)
    with Image.open(file) as image:
        for given in (image, image.convert('RGB')):
            found = as_image(given, channels)
            assert given.size == (40, 32) and found.size == (32, 40) and found.mode == MODES[channels]
            assert found.tobytes() == as_image(file, channels).tobytes() == as_image(file.read_bytes(), channels).tobytes()
            assert as_image(found, channels).tobytes() == found.tobytes()


def test_a_damaged_pil_image_is_an_error_of_the_user(smooth, monkeypatch):
    file = smooth(400, 320)
    file.write_bytes(file.read_bytes()[:1500])
    with Image.open(file) as image, pytest.raises(UserError, match='smooth.jpg cannot be read as an image: .*truncated'):
        as_image(image, 3)
    image = Image.open(smooth(40, 32))
    image.close()
    with pytest.raises(UserError, match='cannot be read as an image'):
        as_image(image, 3)


def test_a_mode_that_pillow_cannot_convert_is_an_error(tmp_path, monkeypatch):
    def fail(self, mode):
        raise ValueError('conversion not supported')
    Image.new('LAB', (4, 4)).save(tmp_path / 'lab.tif')
    monkeypatch.setattr(Image.Image, 'convert', fail)              # which modes these are depends on Pillow's version
    with pytest.raises(UserError, match='lab.tif of mode LAB cannot be converted to RGB'):
        open_image(tmp_path / 'lab.tif')


# Parts of files, for training

def open_part(file, channels, size, box=None):
    """What is in the box, by default everything."""
    picture = open_to_crop(file, channels)
    return picture.part(box or (0, 0, *picture.size), size)


@pytest.mark.parametrize('size, shrink', [(300, 1), (151, 1), (150, 2), (76, 2), (75, 4), (37, 8), (9, 8)])
def test_a_part_of_a_jpeg_file_is_decoded_as_small_as_it_may_be(smooth, size, shrink):
    part = open_part(smooth(400, 320), 3, size, (40, 10, 340, 310))
    assert abs(part.width - 300 / shrink) < 1 and min(part.size) >= size
    exact = open_image(smooth(400, 320)).crop((40, 10, 340, 310)).resize(part.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(part, int) - np.asarray(exact, int)).mean() < 3


@pytest.mark.parametrize('shrink', [1, 2, 4, 8])
def test_no_box_loses_a_pixel_that_it_needs(shrink):
    for left in range(20):
        box = (left, left, left + 8 * shrink, left + 8 * shrink + 3)
        left, top, right, bottom = reduced(box, reduction(box, 8))
        assert reduction(box, 8) == shrink and right - left >= 8 and bottom - top >= 8


@pytest.mark.parametrize('options', [{'mode': 'CMYK'}, {'exif': TURNED}], ids=['cmyk', 'turned'])
def test_other_jpeg_files_are_decoded_as_a_whole(smooth, options):
    file = smooth(400, 320, **options)
    whole = open_image(file)
    assert open_part(file, 3, 8).tobytes() == whole.tobytes()
    assert whole.size == ((320, 400) if 'exif' in options else (400, 320))


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_parts_have_the_channels_that_are_asked_for(smooth, channels):
    for mode in ('L', 'RGB'):
        assert open_part(smooth(40, 32, mode), channels, 8).mode == MODES[channels]


def test_a_truncated_jpeg_file_is_an_error_in_parts_too(smooth):
    file = smooth(400, 320)
    file.write_bytes(file.read_bytes()[:1500])
    with pytest.raises(UserError, match='smooth.jpg cannot be read as an image: .*truncated'):
        open_part(file, 3, 8)


def test_a_part_leaves_no_open_file(smooth):
    with warnings.catch_warnings():
        warnings.simplefilter('error', ResourceWarning)
        open_part(smooth(400, 320), 3, 8)
        open_part(smooth(400, 320, exif=TURNED), 3, 8)
