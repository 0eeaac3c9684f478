import math

import numpy as np
import pytest

import image_classification as ic
from image_classification.engine.schedule import check_schedule, learning_rate, rate_scale


def train(**values):
    return ic.get_config(None, {f'TRAIN.{key}': value for key, value in values.items()}).TRAIN


def rates(steps_per_epoch, **values):
    """The rate of every step; without warm-up and with BASE_LR 1, unless said otherwise."""
    keys = train(**{'BASE_LR': 1.0, 'END_LR': 0.0, 'WARMUP_EPOCHS': 0, **values})
    check_schedule(keys)
    return [learning_rate(step, steps_per_epoch, keys) for step in range(keys.NUM_EPOCHS * steps_per_epoch)]


def test_the_rate_warms_up_linearly_and_ends_the_cosine_at_the_last_step():
    found = rates(5, WARMUP_START_LR=0.2, END_LR=0.1, WARMUP_EPOCHS=2, NUM_EPOCHS=6)
    np.testing.assert_allclose(found[:10], np.linspace(0.2, 1.0, 11)[:-1])
    np.testing.assert_allclose(found[10:], [0.1 + 0.9 * (1 + math.cos(math.pi * i / 19)) / 2 for i in range(20)])
    assert found[-1] == pytest.approx(0.1)


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert learning_rate(0, 1, train(BASE_LR=0.5, WARMUP_EPOCHS=0, NUM_EPOCHS=1)) == 0.5


@pytest.mark.parametrize('schedule, middle', [('cosine', 0.5 + 0.5 * math.cos(math.pi * 5 / 11)), ('poly', 1 - 5 / 11)])
def test_the_last_epochs_cool_down_at_the_end_rate(schedule, middle):
    found = rates(4, LR_SCHEDULE=schedule, NUM_EPOCHS=5, COOLDOWN_EPOCHS=2)
    assert found[5] == pytest.approx(middle) and found[11] == pytest.approx(0.0)
    assert found[12:] == [0.0] * 8


def test_steps_multiply_the_rate_after_every_so_many_epochs_from_the_start():
    found = rates(2, LR_SCHEDULE='step', DECAY_EPOCHS=1.5, DECAY_RATE=0.5, NUM_EPOCHS=5, WARMUP_EPOCHS=1, WARMUP_START_LR=0.0)
    np.testing.assert_allclose(found, [0, 0.5, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125])


def test_steps_fall_on_time_although_fractions_of_epochs_are_rounded():
    """With 5 steps per epoch, 2.4 epochs are 12 steps: each 12 have one rate."""
    found = rates(5, LR_SCHEDULE='step', DECAY_EPOCHS=2.4, DECAY_RATE=0.97, NUM_EPOCHS=600)
    np.testing.assert_allclose(found, [0.97 ** (step // 12) for step in range(3000)])


def test_steps_fall_at_milestones():
    found = rates(2, LR_SCHEDULE='step', DECAY_MILESTONES=[1, 3], NUM_EPOCHS=4)
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_the_exponential_falls_at_every_step():
    found = rates(4, LR_SCHEDULE='exponential', DECAY_EPOCHS=2, DECAY_RATE=0.94, NUM_EPOCHS=4)
    np.testing.assert_allclose(found, [0.94 ** (step / 8) for step in range(16)])


def test_steps_and_exponential_do_not_fall_below_the_end_rate():
    for schedule in ('step', 'exponential'):
        assert rates(1, LR_SCHEDULE=schedule, DECAY_EPOCHS=1, NUM_EPOCHS=9, END_LR=0.01)[-1] == 0.01
        assert max(rates(1, LR_SCHEDULE=schedule, BASE_LR=0.001, NUM_EPOCHS=9, END_LR=0.01)) == 0.001


def test_poly_is_a_power_of_the_rest_of_the_way():
    found = rates(4, LR_SCHEDULE='poly', POLY_POWER=2.0, END_LR=0.2, NUM_EPOCHS=2)
    np.testing.assert_allclose(found, [0.2 + 0.8 * (1 - i / 7) ** 2 for i in range(8)])


def test_constant_keeps_the_rate_after_the_warm_up():
    found = rates(2, LR_SCHEDULE='constant', WARMUP_EPOCHS=1, WARMUP_START_LR=0.0, NUM_EPOCHS=3)
    assert found == [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]


def test_the_rate_scales_with_the_total_batch():
    cfg = ic.get_config(None, {'TRAIN.LINEAR_SCALED_LR': 1024, 'DATA.BATCH_SIZE': 64, 'TRAIN.ACCUM_ITER': 2})
    assert rate_scale(cfg, world_size=4) == 0.5
    assert rate_scale(ic.get_config(None, {'TRAIN.LINEAR_SCALED_LR': 0}), world_size=4) == 1.0


@pytest.mark.parametrize('key, value, words', [
    ('LR_SCHEDULE', 'linear', 'one of: cosine, step'), ('DECAY_EPOCHS', 0.0, 'above 0'), ('DECAY_RATE', 1.5, 'up to 1'),
    ('DECAY_MILESTONES', [60, 30], 'rising'), ('DECAY_MILESTONES', ['30'], 'rising'), ('POLY_POWER', 0.0, 'above 0'),
    ('COOLDOWN_EPOCHS', 300.0, 'in between'), ('COOLDOWN_EPOCHS', -1.0, '0 or more'), ('WARMUP_EPOCHS', -1.0, '0 or more')])
def test_a_value_that_makes_no_schedule_is_named(key, value, words):
    with pytest.raises(ic.UserError, match=f'TRAIN.{key} is .*{words}'):
        check_schedule(train(**{key: value}))
