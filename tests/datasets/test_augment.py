"""RandAugment and the training recipe as a whole."""
import pickle

import numpy as np
import pytest
from PIL import Image, ImageOps

from image_classification.datasets import Preprocess, augment
from image_classification.errors import UserError


def rng(seed=0):
    return np.random.default_rng(seed)


class Sign:
    """A generator whose coin always falls the same way."""

    def __init__(self, negative):
        self.value = 0.0 if negative else 0.9

    def random(self):
        return self.value


def recipe(cfg, channels=3):
    return augment.train_transform(cfg, Preprocess.from_config(cfg, channels))


OPERATIONS = augment._COLOUR + augment._GEOMETRY


def apply(operation, image, level, random):
    extra = (Image.Resampling.NEAREST, (9, 9, 9)) if operation in augment._GEOMETRY else ()
    return operation(image, level, random, *extra)


def test_the_set_is_that_of_timm():
    assert sorted(f.__name__.strip('_') for f in OPERATIONS) == sorted(
        'autocontrast equalize invert rotate posterize solarize solarize_add color contrast brightness sharpness '
        'shear_x shear_y translate_x translate_y'.split())


@pytest.mark.parametrize('operation', [f for f in OPERATIONS if f.__name__ not in (
    '_autocontrast', '_equalize', '_invert', '_posterize')], ids=lambda f: f.__name__)
def test_magnitude_0_changes_nothing(photo, operation):
    assert apply(operation, photo(), 0.0, Sign(False)).tobytes() == photo().tobytes()


@pytest.mark.parametrize('operation', OPERATIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_every_operation_keeps_mode_and_size(photo, operation, mode):
    fill = 9 if mode == 'L' else (9, 9, 9)
    extra = (Image.Resampling.BILINEAR, fill) if operation in augment._GEOMETRY else ()
    image = operation(photo().convert(mode), 1.0, rng(), *extra)
    assert (image.mode, image.size) == (mode, (20, 12))


def test_posterize_keeps_4_bits_at_0_and_none_at_10(photo):
    assert apply(augment._posterize, photo(), 0.0, rng()).tobytes() == ImageOps.posterize(photo(), 4).tobytes()
    assert np.asarray(apply(augment._posterize, photo(), 1.0, rng())).max() == 0


def test_solarize_inverts_from_a_falling_threshold(photo):
    assert apply(augment._solarize, photo(), 0.5, rng()).tobytes() == ImageOps.solarize(photo(), 128).tobytes()
    assert apply(augment._solarize, photo(), 1.0, rng()).tobytes() == ImageOps.invert(photo()).tobytes()


def test_solarize_add_brightens_the_dark_half(photo):
    before, after = np.asarray(photo()).astype(int), np.asarray(apply(augment._solarize_add, photo(), 1.0, rng()))
    np.testing.assert_array_equal(after, np.where(before < 128, before + 110, before))


def test_brightness_reaches_from_a_tenth_to_nearly_double():
    grey = Image.new('RGB', (2, 2), (100, 100, 100))
    assert apply(augment._brightness, grey, 1.0, Sign(True)).getpixel((0, 0)) == (10, 10, 10)
    assert apply(augment._brightness, grey, 1.0, Sign(False)).getpixel((0, 0)) == (190, 190, 190)


def test_translation_moves_by_up_to_45_percent_and_fills_with_the_given_colour(photo):
    moved = np.asarray(apply(augment._translate_x, photo(20, 12), 1.0, Sign(False)))
    np.testing.assert_array_equal(moved[:, :11], np.asarray(photo(20, 12))[:, 9:])
    assert (moved[:, 11:] == 9).all()
    moved = np.asarray(apply(augment._translate_y, photo(12, 20), 1.0, Sign(True)))
    np.testing.assert_array_equal(moved[9:], np.asarray(photo(12, 20))[:11])


def test_rotation_reaches_30_degrees_either_way(photo):
    for negative, degrees in ((False, 30), (True, -30)):
        wanted = photo().rotate(degrees, Image.Resampling.NEAREST, fillcolor=(9, 9, 9))
        assert apply(augment._rotate, photo(), 1.0, Sign(negative)).tobytes() == wanted.tobytes()


def test_shear_moves_the_last_row_by_up_to_30_percent_of_its_distance(photo):
    sheared = np.asarray(apply(augment._shear_x, photo(40, 20), 1.0, Sign(True)))
    np.testing.assert_array_equal(sheared[0, 1:], np.asarray(photo(40, 20))[0, 1:])
    np.testing.assert_array_equal(sheared[19, 6:], np.asarray(photo(40, 20))[19, :34])


def test_half_of_the_operations_are_left_out_and_each_comes_equally_often(monkeypatch, photo):
    calls = []

    def record(i):
        return lambda image, level, *_: calls.append((i, level)) or image
    monkeypatch.setattr(augment, '_COLOUR', tuple(record(i) for i in range(10)))
    monkeypatch.setattr(augment, '_GEOMETRY', tuple(record(i) for i in range(10, 15)))
    random = rng()
    for _ in range(3000):
        augment.rand_augment(photo(), random, 2, 9.0, 0.5, (0, 0, 0), 'bilinear')
    index, level = np.array(calls).T
    assert abs(len(calls) - 3000) < 150
    assert np.bincount(index.astype(int)).min() > 150 and np.bincount(index.astype(int)).max() < 250
    assert level.max() == 1.0 and abs(np.median(level) - 0.9) < 0.01 and abs(level[level < 1].std() - 0.05) < 0.01


@pytest.mark.parametrize('channels, mode', [(1, 'L'), (3, 'RGB'), (4, 'RGBA')])
def test_rand_augment_works_on_every_kind_of_image(photo, channels, mode):
    random = rng()
    for interpolation in ('nearest', 'bilinear', 'bicubic', 'lanczos'):
        image = augment.rand_augment(photo().convert(mode), random, 30, 9.0, 0.5, [99] * channels, interpolation)
        assert (image.mode, image.size) == (mode, (20, 12))


def test_the_recipe_gives_normalized_arrays_that_depend_on_the_generator_only(config, photo):
    cfg = config('TRAIN.RAND_AUGMENT', True, 'TRAIN.RANDOM_ERASE_PROB', 0.5)
    first, second, other = (recipe(cfg)(photo(), rng(seed)) for seed in (5, 5, 6))
    assert first.shape == (3, 8, 8) and first.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_the_recipe_works_for_every_number_of_channels(config, photo, channels):
    cfg = config('TRAIN.RAND_AUGMENT', True, 'TRAIN.RANDOM_ERASE_PROB', 0.5, 'DATA.IMAGENET_MEAN', [0.5],
                 'DATA.IMAGENET_STD', [0.5])
    image = photo().convert({1: 'L', 3: 'RGB', 4: 'RGBA'}[channels])
    for seed in range(40):
        assert recipe(cfg, channels)(image, rng(seed)).shape == (channels, 8, 8)


def test_with_everything_off_the_recipe_is_the_evaluation_transform(config, photo):
    cfg = config('TRAIN.CROP_SCALE', [1.0, 1.0], 'TRAIN.CROP_RATIO', [1.0, 1.0], 'TRAIN.HFLIP', 0.0, 'TRAIN.COLOR_JITTER', 0.0)
    np.testing.assert_array_equal(recipe(cfg)(photo(20, 20), rng()), Preprocess.from_config(cfg)(photo(20, 20)))


def test_colour_jitter_is_used_only_where_rand_augment_is_off(config, photo, monkeypatch):
    calls = []
    monkeypatch.setattr('image_classification.datasets.transforms.color_jitter', lambda image, *_: calls.append(1) or image)
    recipe(config('TRAIN.RAND_AUGMENT', True))(photo(), rng())
    assert not calls
    recipe(config('TRAIN.RAND_AUGMENT', False))(photo(), rng())
    assert calls


def test_moved_in_borders_get_the_mean_colour(config):
    assert recipe(config()).fill == [124, 116, 104]


def test_the_recipe_can_be_pickled(config, photo):
    transform = recipe(config('TRAIN.RAND_AUGMENT', True))
    again = pickle.loads(pickle.dumps(transform))
    np.testing.assert_array_equal(again(photo(), rng()), transform(photo(), rng()))


@pytest.mark.parametrize('key, value', [
    ('CROP_SCALE', [0.0, 1.0]), ('CROP_SCALE', [0.5, 0.1]), ('CROP_SCALE', [0.5, 2.0]), ('CROP_SCALE', [0.5]),
    ('CROP_RATIO', [0.0, 1.0]), ('CROP_RATIO', [2.0, 1.0]), ('HFLIP', 1.5), ('COLOR_JITTER', -0.1), ('RAND_AUGMENT_LAYERS', -1),
    ('RAND_AUGMENT_MAGNITUDE', 11.0), ('RAND_AUGMENT_MSTD', -1.0), ('RANDOM_ERASE_PROB', 2.0), ('RANDOM_ERASE_MODE', 'noise'),
    ('RANDOM_ERASE_COUNT', 0)])
def test_a_bad_value_is_an_error_when_the_recipe_is_built(config, key, value):
    with pytest.raises(UserError, match=rf'TRAIN\.{key} is .*; wanted '):
        recipe(config(f'TRAIN.{key}', value))
