"""A classifier on features, and what is concluded from it."""
import numpy as np
import pytest

from image_classification.fit.head import Known, choose_strength, fit_head, means_the_same, minimize
from image_classification.fit.statistics import softmax


def known(count=120, separation=3.0, seed=0):
    """Two classes in five dimensions, which the first one tells apart."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = random.normal(0, 1, (count, 5)).astype(np.float32)
    features[:, 0] += separation * (2 * labels - 1)
    return Known(features, labels, np.arange(count))


def test_the_minimum_of_a_bent_valley_is_found():
    def rosenbrock(x):
        a, b = x
        return (1 - a) ** 2 + 100 * (b - a * a) ** 2, np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])
    np.testing.assert_allclose(minimize(rosenbrock, np.array([-1.2, 1.0]), steps=200), [1, 1], atol=1e-4)


def test_the_classifier_is_where_its_loss_has_no_slope():
    data, strength = known(separation=1.0), 1e-2
    weight, bias = fit_head(data.features, data.labels, 2, strength=strength)
    mean, scale = data.features.mean(0), (data.features.std(0) + 1e-3 * data.features.std()) * np.sqrt(5)
    x = (data.features - mean) / scale
    wrong = (softmax(data.features @ weight + bias) - np.eye(2)[data.labels]) / len(x)
    assert np.abs(x.T @ wrong + strength * weight * scale[:, None]).max() < 1e-4 and np.abs(wrong.sum(0)).max() < 1e-4


@pytest.mark.parametrize('mirror, separation, wanted', [
    ([1, 1, 1, 1, 1], 3.0, True), ([-1, 1, 1, 1, 1], 3.0, False), ([1, -1, -1, 1, 1], 3.0, True), ([-1, 1, 1, 1, 1], 0.0, None)])
def test_a_change_is_another_meaning_where_it_turns_what_tells_classes_apart(mirror, separation, wanted):
    data = known(separation=separation)
    assert means_the_same(data, data.features * np.array(mirror, np.float32), 2) is wanted


def test_copies_of_a_picture_do_not_judge_each_other():
    """Features of pure noise: whoever sees a copy knows the label, who does not can only guess."""
    data = known(60, separation=0.0)
    twice = Known(np.tile(data.features, (4, 20)), np.tile(data.labels, 4), np.tile(data.groups, 4))
    _, logits, labels = choose_strength(twice, 2)
    assert (logits.argmax(1) == labels).mean() < 0.75
