"""Each transform on its own: what it does, and how often it does it."""
import numpy as np
import pytest
from PIL import Image

from image_classification.datasets import transforms as T


def rng(seed=0):
    return np.random.default_rng(seed)


def gradient(width, height):
    """An RGB image whose red tells the column and whose green tells the row."""
    array = np.zeros((height, width, 3), np.uint8)
    array[..., 0], array[..., 1] = np.arange(width), np.arange(height)[:, None]
    return Image.fromarray(array)


@pytest.mark.parametrize('width, height', [(40, 30), (30, 40), (40, 40)])
def test_resize_short_keeps_the_aspect_ratio(width, height):
    resized = T.resize_short(gradient(width, height), 15, 'bilinear')
    short = min(width, height)
    assert resized.size == (int(15 * width / short), int(15 * height / short))


def test_center_crop_takes_the_middle():
    crop = np.asarray(T.center_crop(gradient(11, 9), 4, 4))
    assert crop[0, 0, 0] == round((11 - 4) / 2) and crop[0, 0, 1] == round((9 - 4) / 2)


def test_random_crops_have_the_asked_area_and_ratio(monkeypatch):
    boxes = []
    monkeypatch.setattr(Image.Image, 'crop', lambda self, box: boxes.append(box) or self)
    random = rng()
    for _ in range(2000):
        T.random_resized_crop(gradient(200, 150), random, 8, (0.2, 0.5), (0.75, 4 / 3), 'nearest')
    left, top, right, bottom = np.array(boxes).T
    share, ratio = (right - left) * (bottom - top) / (200 * 150), (right - left) / (bottom - top)
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= 200 and bottom.max() <= 150
    assert 0.19 < share.min() and share.max() < 0.51 and abs(share.mean() - 0.35) < 0.01
    assert 0.73 < ratio.min() and ratio.max() < 1.37 and abs(np.log(ratio).mean()) < 0.02
    assert left.min() == 0 and right.max() == 200                  # they reach both borders


def test_a_random_crop_is_a_part_that_is_resized():
    random = rng(3)
    crop = np.asarray(T.random_resized_crop(gradient(200, 150), random, 8, (0.2, 0.5), (1.0, 1.0), 'bilinear')).astype(int)
    assert crop.shape == (8, 8, 3)
    steps = np.diff(crop[:, :, 0], axis=1)                         # columns rise evenly: nothing is mirrored or turned
    assert (steps > 0).all() and steps.max() - steps.min() <= 2


def test_a_crop_of_everything_is_a_plain_resize(photo):
    got = T.random_resized_crop(photo(20, 20), rng(), 8, (1.0, 1.0), (1.0, 1.0), 'bicubic')
    assert got.tobytes() == photo(20, 20).resize((8, 8), Image.Resampling.BICUBIC).tobytes()


@pytest.mark.parametrize('size', [(300, 20), (20, 300), (1, 1), (1, 500), (500, 1)])
@pytest.mark.parametrize('ratio', [(1.0, 1.0), (3.0, 4.0), (0.1, 0.2)])
def test_a_crop_that_never_fits_is_the_largest_middle_part(size, ratio):
    assert T.random_resized_crop(Image.new('RGB', size), rng(), 8, (1.0, 1.0), ratio, 'bilinear').size == (8, 8)


def test_the_middle_part_of_a_wide_image_is_a_centred_square():
    got = T.random_resized_crop(gradient(200, 20), rng(), 20, (1.0, 1.0), (1.0, 1.0), 'nearest')
    assert got.tobytes() == gradient(200, 20).crop((90, 0, 110, 20)).tobytes()


@pytest.mark.parametrize('p', [0.0, 0.3, 1.0])
def test_images_are_mirrored_with_the_asked_probability(p):
    image, random = gradient(4, 2), rng()
    flips = np.mean([T.random_flip(image, random, p).getpixel((0, 0))[0] == 3 for _ in range(2000)])
    assert abs(flips - p) < 0.04


def test_colour_jitter_of_0_changes_nothing(photo):
    assert T.color_jitter(photo(), rng(), 0.0, 0.0, 0.0).tobytes() == photo().tobytes()


def test_brightness_varies_within_its_range():
    random = rng()
    values = [T.color_jitter(Image.new('RGB', (2, 2), (100, 100, 100)), random, 0.4, 0.0, 0.0).getpixel((0, 0))[0]
              for _ in range(500)]
    assert 59 <= min(values) < 65 and 135 < max(values) <= 140 and abs(np.mean(values) - 100) < 4


def test_saturation_scales_the_distance_from_grey(photo):
    got = np.asarray(T.color_jitter(photo(), rng(1), 0.0, 0.0, 0.4)).astype(float)
    grey = np.asarray(photo().convert('L').convert('RGB')).astype(float)
    factors = np.linalg.lstsq((np.asarray(photo()) - grey).reshape(-1, 1), (got - grey).reshape(-1), rcond=None)[0]
    assert 0.6 < factors[0] < 1.4 and abs(factors[0] - 1) > 0.01


@pytest.mark.parametrize('mode, channels', [('L', 1), ('RGB', 3), ('RGBA', 4)])
def test_to_array_gives_channels_first_in_0_to_1(photo, mode, channels):
    image = photo().convert(mode)
    array = T.to_array(image)
    assert array.shape == (channels, 12, 20) and array.dtype == np.float32 and array.flags.c_contiguous
    np.testing.assert_allclose(array.transpose(1, 2, 0).squeeze(), np.asarray(image) / 255.0, atol=1e-7)


def test_normalize_is_per_channel():
    got = T.normalize(np.ones((2, 3, 4), np.float32), (0.5, 0.25), (0.5, 0.25))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.broadcast_to(np.array([1, 3], np.float32)[:, None, None], (2, 3, 4)))


def hole(mode, seed, max_count=1):
    """The erased pixels (H, W) of an image of sevens, and the array."""
    array = T.random_erasing(np.full((3, 40, 50), 7, np.float32), rng(seed), 1.0, mode, max_count)
    return (array != 7).any(0), array


def test_erasing_happens_with_the_asked_probability():
    array, random = np.full((1, 20, 20), 7, np.float32), rng()
    erased = np.mean([(T.random_erasing(array, random, 0.25, 'const', 1) != 7).any() for _ in range(2000)])
    assert abs(erased - 0.25) < 0.04
    assert (array == 7).all()                                      # the argument stays as it was


@pytest.mark.parametrize('max_count', [1, 3])
def test_erased_areas_are_2_percent_to_a_third(max_count):
    shares = [hole('const', seed, max_count)[0].mean() for seed in range(500)]
    assert 0.015 < min(s for s in shares if s) < 0.06 and 0.25 < max(shares) < 0.36
    if max_count == 1:
        assert abs(np.mean(shares) - (0.02 + 1 / 3) / 2) < 0.02


def test_an_erased_part_is_one_rectangle_of_moderate_aspect():
    for seed in range(200):
        mask, _ = hole('const', seed)
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert mask.sum() == rows * columns and 0.25 < rows / columns < 4


def test_the_modes_fill_with_zeros_one_colour_or_noise():
    mask, array = hole('const', 1)
    assert (array[:, mask] == 0).all()
    mask, array = hole('rand', 1)
    assert (array[:, mask] == array[:, mask][:, :1]).all() and len(set(array[:, mask][:, 0])) == 3
    mask, array = hole('pixel', 1)
    assert len(np.unique(array[:, mask])) > 0.9 * array[:, mask].size
    assert abs(array[:, mask].mean()) < 0.3 and abs(array[:, mask].std() - 1) < 0.3
    assert array.dtype == np.float32
