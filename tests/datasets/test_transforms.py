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


def test_random_crops_have_the_asked_area_and_ratio():
    random = rng()
    boxes = [T.random_box(random, (200, 150), (0.2, 0.5), (0.75, 4 / 3)) for _ in range(2000)]
    left, top, right, bottom = np.array(boxes).T
    share, ratio = (right - left) * (bottom - top) / (200 * 150), (right - left) / (bottom - top)
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= 200 and bottom.max() <= 150
    assert 0.19 < share.min() and share.max() < 0.51 and abs(share.mean() - 0.35) < 0.01
    assert 0.73 < ratio.min() and ratio.max() < 1.37 and abs(np.log(ratio).mean()) < 0.02
    assert left.min() == 0 and right.max() == 200                  # they reach both borders


@pytest.mark.parametrize('size', [(300, 20), (20, 300), (1, 1), (1, 500), (500, 1)])
@pytest.mark.parametrize('ratio', [(1.0, 1.0), (3.0, 4.0), (0.1, 0.2)])
def test_a_crop_that_never_fits_is_the_largest_middle_part(size, ratio):
    left, top, right, bottom = T.random_box(rng(), size, (1.0, 1.0), ratio)
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    assert abs(left - (size[0] - right)) <= 1 and abs(top - (size[1] - bottom)) <= 1


def test_the_middle_part_of_a_wide_image_is_a_centred_square():
    assert T.random_box(rng(), (200, 20), (1.0, 1.0), (1.0, 1.0)) == (90, 0, 110, 20)


@pytest.mark.parametrize('p', [0.0, 0.3, 1.0])
def test_images_are_mirrored_with_the_asked_probability(p):
    image, random = gradient(4, 2), rng()
    flips = np.mean([T.random_flip(image, random, p).getpixel((0, 0))[0] == 3 for _ in range(2000)])
    assert abs(flips - p) < 0.04


def test_upside_down_is_top_to_bottom():
    turned = np.asarray(T.random_flip(gradient(4, 3), rng(), 1.0, upside_down=True))
    np.testing.assert_array_equal(turned, np.asarray(gradient(4, 3))[::-1])


class Given:
    """Draws these numbers, one after another."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def uniform(self, low, high):
        assert low <= self.numbers[0] <= high
        return self.numbers.pop(0)


def test_a_picture_is_turned_about_its_centre_and_corners_from_outside_have_the_colour_of_its_edge():
    image = gradient(9, 9)
    np.testing.assert_array_equal(T.random_slant(image, Given(0, 0), 45, 0), np.asarray(image))
    np.testing.assert_array_equal(T.random_slant(image, Given(90, 0), 90, 0), np.rot90(np.asarray(image), -1))
    half = np.asarray(T.random_slant(image, Given(45, 0), 45, 0))
    assert half[4, 4].tolist() == [4, 4, 0] and half[0, 0].tolist() == [4, 4, 0]


def test_sheared_columns_lean_and_rows_stay():
    leaning = np.asarray(T.random_slant(gradient(21, 21), Given(0, 45), 0, 45))
    assert leaning[10].tolist() == np.asarray(gradient(21, 21))[10].tolist()
    assert (leaning[9, 1:, 0] == np.arange(20)).all() and (leaning[11, :-1, 0] == np.arange(1, 21)).all()


def test_a_grey_picture_is_turned_too():
    assert T.random_slant(gradient(5, 7).convert('L'), rng(), 20, 10).mode == 'L'


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
def test_pixels_have_their_channels_last(photo, mode, channels):
    image = photo().convert(mode)
    array = T.to_pixels(image)
    assert array.shape == (12, 20, channels) and array.dtype == np.uint8
    np.testing.assert_array_equal(array.squeeze(), np.asarray(image))


def test_normalizing_scales_to_0_to_1_and_is_per_channel():
    pixels = rng().integers(0, 256, (2, 3, 4, 2), np.uint8)
    mean, std = np.float32([0.5, 0.25]), np.float32([0.5, 0.25])
    got = T.normalize(pixels, mean, std)
    assert got.dtype == np.float32 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, (((pixels.astype(np.float32) / np.float32(255)) - mean) / std).transpose(0, 3, 1, 2))


def hole(mode, seed, max_count=1):
    """The erased pixels (H, W) of an image of sevens, and the array."""
    array = np.full((3, 40, 50), 7, np.float32)
    T.erase(array, T.random_holes(rng(seed), array.shape, 1.0, mode, max_count))
    return (array != 7).any(0), array


def test_erasing_happens_with_the_asked_probability():
    random = rng()
    erased = np.mean([bool(T.random_holes(random, (1, 20, 20), 0.25, 'const', 1)) for _ in range(2000)])
    assert abs(erased - 0.25) < 0.04


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
