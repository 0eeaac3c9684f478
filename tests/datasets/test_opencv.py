"""OpenCV in the place of Pillow, for training."""
import io
import sys

import numpy as np
import pytest
from PIL import Image

from image_classification.datasets import get_dataloader, get_dataset, opencv, transforms
from image_classification.datasets.augment import train_transform
from image_classification.datasets.images import open_image
from image_classification.datasets.preprocess import Preprocess
from image_classification.errors import UserError

pytest.importorskip('cv2', reason="pip install -e '.[test]'")
BOX = 40, 10, 340, 310


def open_part(file, size, interpolation='bilinear', box=BOX, channels=3):
    return opencv.open_to_crop(file, channels, interpolation).part(box, size)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'lanczos'])
@pytest.mark.parametrize('size', [32, 75, 100, 224, 300, 350])
def test_parts_look_as_pillows_do(smooth, size, interpolation):
    file = smooth(400, 320)
    part = open_part(file, size, interpolation)
    exact = open_image(file).crop(BOX).resize((size, size), Image.Resampling.BICUBIC)
    assert part.shape == (size, size, 3) and np.abs(np.asarray(part, int) - np.asarray(exact, int)).mean() < 3


def test_it_decodes_to_the_numbers_of_pillow(smooth):
    file = smooth(300, 300)
    part = open_part(file, 300, box=(0, 0, 300, 300))
    assert np.abs(np.asarray(part, int) - np.asarray(open_image(file), int)).max() <= 1    # builds of libjpeg may round so


@pytest.mark.parametrize('channels, interpolation, options', [(1, 'bilinear', {}), (3, 'box', {}),
                                                              (3, 'bilinear', {'mode': 'L'}),
                                                              (3, 'bilinear', {'mode': 'CMYK'})])
def test_what_it_does_otherwise_is_left_to_pillow(smooth, monkeypatch, channels, interpolation, options):
    monkeypatch.setattr(opencv, '_decoded', None)
    assert open_part(smooth(400, 320, **options), 300, interpolation, channels=channels).size == (300, 300)


@pytest.mark.parametrize('policy', [{}, {'TRAIN.COLOR_JITTER': 0.4}, {'TRAIN.AUTO_AUGMENT': 'trivial'}])
@pytest.mark.parametrize('hflip', [0.0, 1.0])
def test_mirrors_and_policies_take_its_pixels(config, smooth, policy, hflip):
    pre = Preprocess.from_config(config(), 3)

    def transformed(make):
        train = config('TRAIN.HFLIP', hflip, *sum({'TRAIN.COLOR_JITTER': 0.0, **policy}.items(), ()))
        return train_transform(train, pre)(make(open_part(smooth(400, 320), 64)), np.random.default_rng(5), 64)[0]
    np.testing.assert_array_equal(transformed(lambda pixels: pixels), transformed(Image.fromarray))


def test_a_damaged_file_is_named_in_pillows_words(smooth):
    file = smooth(400, 320)
    file.write_bytes(file.read_bytes()[:1500])
    with pytest.raises(UserError, match='smooth.jpg cannot be read as an image: .*truncated'):
        open_part(file, 32)


def test_training_draws_the_same_parts_and_evaluation_stays_the_same(config, tmp_path, smooth):
    for part in ('train', 'val'):
        for i in range(8):
            (tmp_path / part / 'a').mkdir(parents=True, exist_ok=True)
            (tmp_path / part / 'a' / f'{i}.jpg').write_bytes(smooth(90 + i, 80).read_bytes())

    def images(backend, is_train):
        cfg = config('DATA.DATASET', 'folder', 'DATA.DATA_PATH', str(tmp_path), 'MODEL.NUM_CLASSES', 1, 'DATA.IMAGE_SIZE', 32,
                     'TRAIN.COLOR_JITTER', 0.0, 'DATA.BACKEND', backend)
        batches = get_dataloader(cfg, get_dataset(cfg, is_train), is_train).epoch(0)
        return np.concatenate([batch.numpy() for batch, _ in batches])
    ours, theirs = (images(backend, True) for backend in ('opencv', 'pillow'))
    assert 0 < np.abs(ours - theirs).mean() < 0.1                  # deviations; another part or mirroring would give 0.5
    np.testing.assert_array_equal(images('opencv', False), images('pillow', False))


def test_where_it_is_not_installed_the_message_says_how_to_get_it(config, monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[opencv\]'"):
        get_dataset(config('DATA.BACKEND', 'opencv'), True)


def test_another_backend_is_an_error(config):
    with pytest.raises(UserError, match="DATA.BACKEND is 'gd'; wanted pillow or opencv"):
        get_dataset(config('DATA.BACKEND', 'gd'), True)


@pytest.mark.parametrize('mode, options, plain', [
    ('RGB', {}, True), ('RGB', {'progressive': True}, True), ('RGB', {'comment': b'c' * 300, 'dpi': (72, 72)}, True),
    ('RGB', {'subsampling': 0, 'optimize': True, 'restart_marker_rows': 1}, True), ('RGB', {'keep_rgb': True}, True),
    ('RGB', {'icc_profile': b'i' * 70_000}, True), ('L', {}, False), ('CMYK', {}, False)])
def test_the_size_of_an_ordinary_jpeg_is_read_without_pillow(mode, options, plain):
    stream = io.BytesIO()
    Image.new(mode, (517, 301)).save(stream, 'JPEG', **options)
    assert opencv._size(stream.getvalue()) == ((517, 301) if plain else None)


def test_what_is_out_of_the_ordinary_is_left_to_pillow(monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6                                               # turned
    stream = io.BytesIO()
    Image.new('RGB', (517, 301)).save(stream, 'JPEG', exif=exif)
    data = stream.getvalue()
    assert opencv._size(data) is None and opencv._size_by_pillow(data) is None
    place = data.index(b'\xff\xe1')
    plain = data[:place] + data[place + 2 + int.from_bytes(data[place + 2:place + 4], 'big'):]   # without EXIF
    assert opencv._size(plain) == (517, 301)
    assert opencv._size(b'\x89PNG' + plain[4:]) is None
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    assert opencv._size(plain) is None                             # Pillow warns of it, or refuses
    for end in range(20):
        with pytest.raises(IndexError):
            opencv._size(plain[:end])


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('order', ['RGB', 'BGR'])
def test_by_tables_pixels_are_normalized_to_the_same_bits(channels, order):
    mean, std = (0.485, 0.456, 0.406, 0.5), (0.229, 0.224, 0.225, 0.2)
    pre = Preprocess(8, 1.0, 'bilinear', mean[:channels], std[:channels], channels, order)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 50, channels), np.uint8)
    found = pre.normalized(pixels, transforms.normalize_by_tables)
    np.testing.assert_array_equal(found, pre.normalized(pixels))
    assert found.dtype == np.float32 and found.flags.c_contiguous
