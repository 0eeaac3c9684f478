"""The training recipe as a whole."""
import pickle

import numpy as np
import pytest
from PIL import Image

from image_classification.datasets import Preprocess, augment, policies
from image_classification.datasets.transforms import erase
from image_classification.errors import UserError


def rng(seed=0):
    return np.random.default_rng(seed)


class Recipe:
    """recipe(PIL image, generator, size) -> (C, size, size) float32, normalized and erased."""

    def __init__(self, cfg, channels):
        self.preprocess = Preprocess.from_config(cfg, channels)
        self.transform = augment.train_transform(cfg, self.preprocess)

    def __call__(self, image, rng, size=None):
        part = image.crop(self.transform.box(image.size, rng))
        pixels, holes = self.transform(part, rng, size or self.transform.size)
        array = self.preprocess.normalized(pixels[None])[0]
        erase(array, holes)
        return array


def recipe(cfg, channels=3):
    return Recipe(cfg, channels)


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


def test_colour_jitter_is_used_only_where_no_policy_is_on(config, photo, monkeypatch):
    calls = []
    monkeypatch.setattr('image_classification.datasets.transforms.color_jitter', lambda image, *_: calls.append(1) or image)
    policy = 'AUTO_AUGMENT'
    for key, value in (('RAND_AUGMENT', True), (policy, 'v0'), (policy, 'original'), (policy, 'trivial')):
        recipe(config(f'TRAIN.{key}', value))(photo(), rng())
    assert not calls
    recipe(config())(photo(), rng())
    assert calls


@pytest.mark.parametrize('name', ['original', 'v0', 'trivial'])
@pytest.mark.parametrize('channels, mode', [(1, 'L'), (3, 'RGB'), (4, 'RGBA')])
def test_the_recipe_has_the_policy_of_its_name_alone(config, photo, monkeypatch, name, channels, mode):
    calls = []
    for function in ('auto_augment', 'trivial_augment'):
        real = getattr(policies, function)
        monkeypatch.setattr(policies, function, lambda *args, real=real, function=function:
                            calls.append((function, *[arg for arg in args if arg in ('original', 'v0')])) or real(*args))
    cfg = config('TRAIN.AUTO_AUGMENT', name, 'DATA.IMAGENET_MEAN', [0.5], 'DATA.IMAGENET_STD', [0.5])
    for seed in range(30):
        assert recipe(cfg, channels)(photo().convert(mode), rng(seed)).shape == (channels, 8, 8)
    assert set(calls) == {('trivial_augment',) if name == 'trivial' else ('auto_augment', name)}


def test_the_increasing_set_is_another_one(config, photo):
    plain, increasing = (recipe(config('TRAIN.RAND_AUGMENT', True, 'TRAIN.RAND_AUGMENT_LAYERS', 4,
                                       'TRAIN.RAND_AUGMENT_INCREASING', value)) for value in (False, True))
    assert any((plain(photo(), rng(seed)) != increasing(photo(), rng(seed))).any() for seed in range(20))


def test_training_may_have_a_size_of_its_own(config, photo):
    for pairs, side in (((), 8), (('TRAIN.IMAGE_SIZE', 6), 6)):
        transform = recipe(config(*pairs))
        assert transform(photo(), rng()).shape == (3, side, side) and transform(photo(), rng(), 5).shape == (3, 5, 5)
        assert transform.preprocess(photo()).shape == (3, 8, 8)    # the evaluation's stays


def test_the_crop_is_a_part_that_is_resized(config):
    cfg = config('TRAIN.CROP_SCALE', [0.2, 0.5], 'TRAIN.CROP_RATIO', [1.0, 1.0], 'TRAIN.HFLIP', 0.0, 'TRAIN.COLOR_JITTER', 0.0)
    columns = Image.fromarray(np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (150, 200, 3)).copy())
    steps = np.diff(recipe(cfg)(columns, rng(3))[0], axis=1)       # columns rise evenly: nothing is mirrored or turned
    assert (steps > 0).all() and np.ptp(steps) <= 2.01 / 255 / 0.229


def test_moved_in_borders_get_the_mean_colour(config):
    assert recipe(config()).transform.fill == [124, 116, 104]


def test_the_recipe_can_be_pickled(config, photo):
    transform = recipe(config('TRAIN.RAND_AUGMENT', True))
    again = pickle.loads(pickle.dumps(transform))
    np.testing.assert_array_equal(again(photo(), rng()), transform(photo(), rng()))


@pytest.mark.parametrize('key, value', [
    ('CROP_SCALE', [0.0, 1.0]), ('CROP_SCALE', [0.5, 0.1]), ('CROP_SCALE', [0.5, 2.0]), ('CROP_SCALE', [0.5]),
    ('CROP_RATIO', [0.0, 1.0]), ('CROP_RATIO', [2.0, 1.0]), ('HFLIP', 1.5), ('COLOR_JITTER', -0.1), ('RAND_AUGMENT_LAYERS', -1),
    ('AUTO_AUGMENT', 'v1'), ('IMAGE_SIZE', -1),
    ('RAND_AUGMENT_MAGNITUDE', 11.0), ('RAND_AUGMENT_MSTD', -1.0), ('RANDOM_ERASE_PROB', 2.0), ('RANDOM_ERASE_MODE', 'noise'),
    ('RANDOM_ERASE_COUNT', 0)])
def test_a_bad_value_is_an_error_when_the_recipe_is_built(config, key, value):
    with pytest.raises(UserError, match=rf'TRAIN\.{key} is .*; wanted '):
        recipe(config(f'TRAIN.{key}', value))


def test_two_policies_at_once_are_an_error(config):
    with pytest.raises(UserError, match="TRAIN.RAND_AUGMENT is True; wanted False beside TRAIN.AUTO_AUGMENT 'v0'"):
        recipe(config('TRAIN.AUTO_AUGMENT', 'v0', 'TRAIN.RAND_AUGMENT', True))
