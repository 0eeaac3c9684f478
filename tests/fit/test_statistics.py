import numpy as np
import pytest

from image_classification.fit.statistics import calibration_error, find_temperature, interval, log_loss, softmax, surest


def test_the_interval_is_the_exact_one():
    assert interval(292, 300) == pytest.approx((94.81, 98.84), abs=0.01)      # as tables of Clopper and Pearson's have it
    assert interval(10, 10) == pytest.approx((69.15, 100.0), abs=0.01) and interval(0, 10)[1] == pytest.approx(30.85, abs=0.01)


def test_the_temperature_that_made_logits_too_sure_is_found():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (4000, 5))
    labels = np.array([rng.choice(5, p=row) for row in softmax(true)])
    found = find_temperature(3.0 * true, labels)
    assert found == pytest.approx(3.0, rel=0.08)
    assert log_loss(3.0 * true, labels, found) < log_loss(3.0 * true, labels)
    assert calibration_error(softmax(3.0 * true, found), labels) < 0.03 < calibration_error(softmax(3.0 * true), labels)


def test_a_few_pictures_that_are_all_right_do_not_make_it_infinitely_sure():
    logits = np.array([[4.0, 0.0], [0.0, 4.0], [5.0, 0.0]])
    few, many = (find_temperature(np.tile(logits, (n, 1)), np.tile([0, 1, 0], n)) for n in (1, 100))
    assert 0.3 < many < 1.0 < few < 5.0


def test_another_is_taken_only_where_it_is_better_than_chance_makes_it():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    noise = rng.normal(0, 1, (60, 3))
    weak, strong = (noise + factor * np.eye(3)[labels] for factor in (1.0, 5.0))
    assert surest([weak, strong], labels) == 1 and surest([strong, weak], labels) == 0
    assert surest([weak, weak + 0.01 * rng.normal(0, 1, (60, 3))], labels) == 0
