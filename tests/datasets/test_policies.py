"""AutoAugment, RandAugment and TrivialAugment: each operation, its strength, and how often it comes."""
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from image_classification.datasets import policies
from image_classification.datasets.policies import INCREASING, ORIGINAL, PLAIN, TRIVIAL

FILL = (9, 9, 9)


def rng(seed=0):
    return np.random.default_rng(seed)


class Sign:
    """A generator whose coin always falls the same way."""

    def __init__(self, negative):
        self.value = 0.0 if negative else 0.9

    def random(self):
        return self.value


def apply(image, name, argument):
    return policies.apply(image, name, argument, 'nearest', FILL)


@pytest.fixture
def calls(monkeypatch):
    """[(operation, argument)] of everything that is applied from here on; nothing is done to the images."""
    found = []
    monkeypatch.setattr(policies, 'apply', lambda image, name, argument, *_: found.append((name, argument)) or image)
    return found


# Operations

RAND_NAMES = ('autocontrast equalize invert rotate posterize solarize solarize_add color contrast brightness sharpness '
              'shear_x shear_y translate_x translate_y').split()
TRIVIAL_NAMES = ('identity shear_x shear_y translate_x_pixels translate_y_pixels rotate brightness color contrast sharpness '
                 'posterize solarize autocontrast equalize').split()


@pytest.mark.parametrize('table, names', [(PLAIN, RAND_NAMES), (INCREASING, RAND_NAMES), (TRIVIAL, TRIVIAL_NAMES)])
def test_the_sets_are_those_of_timm_and_of_torchvision(table, names):
    assert sorted(table) == sorted(names)


@pytest.mark.parametrize('name, argument', [
    ('posterize', 8), ('solarize', 256), ('solarize_add', 0), ('color', 1.0), ('contrast', 1.0), ('brightness', 1.0),
    ('sharpness', 1.0), *[(name, 0) for name in policies.GEOMETRY]])
def test_every_operation_has_an_argument_that_changes_nothing(photo, name, argument):
    assert apply(photo(), name, argument).tobytes() == photo().tobytes()


@pytest.mark.parametrize('name', [*policies.COLOUR, *policies.GEOMETRY])
@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA'])
def test_every_operation_keeps_mode_size_and_transparency(photo, name, mode):
    image = photo().convert(mode)
    if mode == 'RGBA':
        image.putalpha(photo(seed=1).convert('L'))
    argument = {'posterize': 3, 'solarize': 100, 'solarize_add': 50}.get(name, 0.4)
    after = policies.apply(image, name, argument, 'bilinear', (9,) * len(mode))
    assert (after.mode, after.size) == (mode, (20, 12))
    if mode == 'RGBA' and name in policies.COLOUR:
        assert after.getchannel('A').tobytes() == image.getchannel('A').tobytes()
        assert after.convert('RGB').tobytes() == policies.apply(image.convert('RGB'), name, argument).tobytes()


@pytest.mark.parametrize('name, argument, wanted', [
    ('autocontrast', None, ImageOps.autocontrast), ('equalize', None, ImageOps.equalize), ('invert', None, ImageOps.invert),
    ('posterize', 3, lambda image: ImageOps.posterize(image, 3)), ('solarize', 77, lambda image: ImageOps.solarize(image, 77)),
    ('color', 0.3, lambda image: ImageEnhance.Color(image).enhance(0.3)),
    ('contrast', 1.7, lambda image: ImageEnhance.Contrast(image).enhance(1.7)),
    ('brightness', 0.5, lambda image: ImageEnhance.Brightness(image).enhance(0.5)),
    ('sharpness', 1.9, lambda image: ImageEnhance.Sharpness(image).enhance(1.9)),
    ('rotate', -30.0, lambda image: image.rotate(-30.0, Image.Resampling.NEAREST, fillcolor=FILL))])
def test_an_operation_is_that_of_pillow(photo, name, argument, wanted):
    assert apply(photo(), name, argument).tobytes() == wanted(photo()).tobytes()


def test_no_bit_may_be_kept(photo):
    assert np.asarray(apply(photo(), 'posterize', 0)).max() == 0


def test_solarize_add_brightens_the_dark_half(photo):
    before, after = np.asarray(photo()).astype(int), np.asarray(apply(photo(), 'solarize_add', 110))
    np.testing.assert_array_equal(after, np.where(before < 128, before + 110, before))


def test_translation_moves_by_a_share_of_the_side_and_fills_with_the_given_colour(photo):
    moved = np.asarray(apply(photo(20, 12), 'translate_x', 0.45))
    np.testing.assert_array_equal(moved[:, :11], np.asarray(photo(20, 12))[:, 9:])
    assert (moved[:, 11:] == 9).all()
    moved = np.asarray(apply(photo(12, 20), 'translate_y', -0.45))
    np.testing.assert_array_equal(moved[9:], np.asarray(photo(12, 20))[:11])


def test_translation_by_pixels_does_not_depend_on_the_side(photo):
    for width in (20, 40):
        moved = np.asarray(apply(photo(width, 12), 'translate_x_pixels', 3))
        np.testing.assert_array_equal(moved[:, :-3], np.asarray(photo(width, 12))[:, 3:])
    moved = np.asarray(apply(photo(), 'translate_y_pixels', -3))
    np.testing.assert_array_equal(moved[3:], np.asarray(photo())[:-3])


def test_shear_moves_a_row_by_its_distance_times_the_slope(photo):
    sheared = np.asarray(apply(photo(40, 20), 'shear_x', -0.3))
    np.testing.assert_array_equal(sheared[0, 1:], np.asarray(photo(40, 20))[0, 1:])
    np.testing.assert_array_equal(sheared[19, 6:], np.asarray(photo(40, 20))[19, :34])
    sideways = Image.fromarray(np.asarray(apply(photo(40, 20), 'shear_x', -0.3)).swapaxes(0, 1))
    turned = Image.fromarray(np.asarray(photo(40, 20)).swapaxes(0, 1))
    assert apply(turned, 'shear_y', -0.3).tobytes() == sideways.tobytes()


@pytest.mark.parametrize('interpolation, resample', [
    ('nearest', 'NEAREST'), ('bilinear', 'BILINEAR'), ('bicubic', 'BICUBIC'), ('lanczos', 'BICUBIC')])
def test_geometry_has_the_configured_filter_as_far_as_pillow_knows_it(photo, interpolation, resample):
    wanted = photo().rotate(20, Image.Resampling[resample], fillcolor=FILL)
    assert policies.apply(photo(), 'rotate', 20, interpolation, FILL).tobytes() == wanted.tobytes()


# Strengths: recorded from timm 1.0.31 (level_to_arg at m = 3 and m = 9) and torchvision 0.29.1 (bins 9 and 27 of 31)

@pytest.mark.parametrize('table, low, high, wanted', [
    (PLAIN, 0.3, 0.9, {'posterize': (1, 3), 'solarize': (76, 230), 'solarize_add': (33, 99), 'color': (0.64, 1.72),
                       'contrast': (0.64, 1.72), 'brightness': (0.64, 1.72), 'sharpness': (0.64, 1.72), 'rotate': (9, 27),
                       'shear_x': (0.09, 0.27), 'shear_y': (0.09, 0.27), 'translate_x': (0.135, 0.405),
                       'translate_y': (0.135, 0.405)}),
    (INCREASING, 0.3, 0.9, {'posterize': (3, 1), 'solarize': (180, 26), 'solarize_add': (33, 99), 'color': (1.27, 1.81),
                            'contrast': (1.27, 1.81), 'brightness': (1.27, 1.81), 'sharpness': (1.27, 1.81), 'rotate': (9, 27),
                            'shear_x': (0.09, 0.27), 'translate_x': (0.135, 0.405)}),
    (ORIGINAL, 0.3, 0.9, {'posterize': (5, 7), 'solarize': (76, 230), 'color': (0.64, 1.72), 'rotate': (9, 27)}),
    (TRIVIAL, 9 / 30, 27 / 30, {'posterize': (6, 3), 'solarize': (178.5, 25.5), 'color': (1.297, 1.891),
                                'contrast': (1.297, 1.891), 'brightness': (1.297, 1.891), 'sharpness': (1.297, 1.891),
                                'rotate': (40.5, 121.5), 'shear_x': (0.297, 0.891), 'shear_y': (0.297, 0.891),
                                'translate_x_pixels': (9, 28), 'translate_y_pixels': (9, 28)})],
    ids=['plain', 'increasing', 'original', 'trivial'])
def test_strengths_are_those_recorded_from_the_original(table, low, high, wanted):
    for name, arguments in wanted.items():
        assert [table[name](level, Sign(False)) for level in (low, high)] == pytest.approx(list(arguments)), name


@pytest.mark.parametrize('table', [INCREASING, TRIVIAL])
def test_what_goes_both_ways_is_mirrored_at_no_change(table):
    for name in table:
        up, down = (table[name](0.7, Sign(negative)) for negative in (False, True))
        middle = 1.0 if name in ('color', 'contrast', 'brightness', 'sharpness') else 0.0
        if name in policies.GEOMETRY or middle:
            assert up > middle and up - middle == pytest.approx(middle - down), name
        else:
            assert up == down, name


def test_with_the_increasing_set_every_operation_gets_stronger(photo):
    def change(name, level):
        after = apply(photo(), name, INCREASING[name](level, Sign(True)))
        return np.abs(np.asarray(after).astype(float) - np.asarray(photo())).mean()
    for name in ('posterize', 'solarize', 'solarize_add', 'color', 'contrast', 'brightness', 'sharpness'):
        changes = [change(name, level) for level in (0.1, 0.4, 0.7, 1.0)]
        assert changes == sorted(changes) and changes[0] < changes[-1], name


# Policies

@pytest.mark.parametrize('name, operations, first, last', [
    ('original', 10, [('posterize', 0.4, 8), ('rotate', 0.6, 9)], [('equalize', 0.8, 8), ('equalize', 0.6, 3)]),
    ('v0', 11, [('equalize', 0.8, 1), ('shear_y', 0.8, 4)], [('color', 0.8, 6), ('rotate', 0.4, 5)])])
def test_a_policy_of_auto_augment_has_25_sub_policies_of_2_operations(name, operations, first, last):
    policy, arguments = policies.AUTO_AUGMENT[name]
    assert len(policy) == 25 and all(len(pair) == 2 for pair in policy) and (policy[0], policy[-1]) == (first, last)
    used = {operation for pair in policy for operation, _, _ in pair}
    assert len(used) == operations and used <= set(arguments)
    assert all(0 <= prob <= 1 and 0 <= level <= 10 for pair in policy for _, prob, level in pair)


@pytest.mark.parametrize('name', ['original', 'v0'])
def test_sub_policies_come_equally_often_and_their_operations_with_their_probability(calls, photo, name):
    random, image = rng(), photo()
    for _ in range(5000):
        policies.auto_augment(image, random, name, FILL, 'bilinear')
    wanted = Counter()
    for pair in policies.AUTO_AUGMENT[name][0]:
        for operation, prob, _ in pair:
            wanted[operation] += 5000 / 25 * prob
    found = Counter(operation for operation, _ in calls)
    assert set(found) == {operation for operation, count in wanted.items() if count}
    for operation, count in found.items():
        assert abs(count - wanted[operation]) < 5 * wanted[operation] ** 0.5, operation


def test_auto_augment_applies_a_pair_in_its_order_at_its_levels(photo, monkeypatch):
    pair = [('solarize', 1.0, 5), ('translate_y', 0.0, 9), ('brightness', 1.0, 9)]
    monkeypatch.setitem(policies.AUTO_AUGMENT, 'v0', ([pair], PLAIN))
    wanted = ImageEnhance.Brightness(ImageOps.solarize(photo(), 128)).enhance(1.72)
    assert policies.auto_augment(photo(), rng(), 'v0', FILL, 'bilinear').tobytes() == wanted.tobytes()


@pytest.mark.parametrize('increasing', [False, True])
def test_rand_augment_leaves_out_half_and_takes_each_operation_equally_often(calls, photo, increasing):
    random, image = rng(), photo()
    for _ in range(3000):
        policies.rand_augment(image, random, 2, 9.0, 0.5, increasing, FILL, 'bilinear')
    found = Counter(name for name, _ in calls)
    assert abs(len(calls) - 3000) < 150 and set(found) == set(RAND_NAMES)
    assert min(found.values()) > 150 and max(found.values()) < 250
    level = np.abs([argument for name, argument in calls if name == 'rotate']) / 30
    assert level.max() == 1.0 and abs(np.median(level) - 0.9) < 0.02 and abs(level[level < 1].std() - 0.04) < 0.01


def test_trivial_augment_takes_one_operation_at_a_strength_of_any_bin(calls, photo):
    random, image = rng(), photo()
    for _ in range(14000):
        policies.trivial_augment(image, random, 'bilinear')
    found = Counter(name for name, _ in calls)
    assert set(found) == set(TRIVIAL_NAMES) - {'identity'} and abs(len(calls) - 13000) < 160    # identity: a 14th
    assert min(found.values()) > 850 and max(found.values()) < 1150
    degrees = Counter(round(argument / 4.5) for name, argument in calls if name == 'rotate')
    assert set(degrees) == set(range(-30, 31)) and max(degrees.values()) < 60                   # 16 of each, 32 of 0


def test_trivial_augment_moves_in_black(photo):
    image = photo(80, 80).point(lambda value: max(value, 1))
    blacks = [(np.asarray(policies.trivial_augment(image, rng(seed), 'nearest')) == 0).all(-1).mean() for seed in range(40)]
    assert sum(share > 0.1 for share in blacks) > 5


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA'])
def test_policies_work_on_every_kind_of_image(photo, mode):
    image, fill = photo().convert(mode), [99] * len(mode)
    for interpolation in ('nearest', 'bilinear', 'bicubic', 'lanczos'):
        after = [policies.rand_augment(image, rng(1), 30, 9.0, 0.5, True, fill, interpolation),
                 policies.rand_augment(image, rng(1), 30, 9.0, 0.5, False, fill, interpolation)]
        for seed in range(20):
            after += [policies.trivial_augment(image, rng(seed), interpolation),
                      policies.auto_augment(image, rng(seed), 'original', fill, interpolation),
                      policies.auto_augment(image, rng(seed), 'v0', fill, interpolation)]
        assert {(one.mode, one.size) for one in after} == {(mode, (20, 12))}
