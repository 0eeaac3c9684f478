"""A linear classifier on features that are computed once. It takes seconds, and is already good on features of ImageNet."""
from dataclasses import dataclass

import numpy as np

from image_classification.fit.statistics import log_loss, softmax

_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2)                              # candidate factors of the L2 penalty, beside the mean loss
_FOLDS, _MOST = 5, 3_000                                           # cross-validation: folds, and largest number of pictures


@dataclass
class Known:
    """Pictures with known features."""
    features: np.ndarray                                           # (N, C) float32
    labels: np.ndarray                                             # (N,)
    groups: np.ndarray                                             # (N,), the same number for duplicates of one picture

    def part(self, rows):
        return Known(self.features[rows], self.labels[rows], self.groups[rows])

    def and_of(self, other):
        """These pictures, followed by those of `other`."""
        return Known(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values())))

    def drawn(self, count):
        """Sorted indices of `count` random pictures, or of all if there are fewer. The draw is always the same."""
        return np.sort(np.random.RandomState(0).permutation(len(self.labels))[:count])

    def fit(self, classes, strength):
        """(weight, bias) of a classifier trained on all these pictures. Each class has the same total weight in the loss."""
        counts = np.bincount(self.labels, minlength=classes)
        return fit_head(self.features, self.labels, classes, counts.mean() / np.maximum(counts, 1), strength)


def fit_head(features, labels, classes, weights=None, strength=1e-2):
    """Multinomial logistic regression: (weight (C, classes), bias (classes,)), float32, for unscaled features.

    Args:
        weights: weight of each class in the loss; None: all equal.
        strength: factor of the L2 penalty. Features are standardized internally, so that it means the same for every network.
    """
    mean, scale = features.mean(0), features.std(0) + 1e-3 * features.std() + 1e-8
    scale = scale * np.sqrt(features.shape[1])
    x = np.concatenate([(features - mean) / scale, np.ones((len(features), 1))], 1).astype(np.float32)
    each = np.ones(classes) if weights is None else weights
    share = (each[labels] / len(labels)).astype(np.float32)[:, None]
    truth = np.eye(classes, dtype=np.float32)[labels]
    decay = np.full((x.shape[1], 1), strength / classes, np.float32)
    decay[-1] = 0.0                                                # no penalty for the bias

    def loss(flat):
        both = flat.reshape(-1, classes)
        probabilities = softmax(x @ both)
        value = -(share * truth * np.log(np.maximum(probabilities, 1e-30))).sum() + (decay * both ** 2).sum()
        return float(value), (x.T @ (share * (probabilities - truth).astype(np.float32)) + 2 * decay * both).ravel()
    both = minimize(loss, np.zeros(x.shape[1] * classes, np.float32)).reshape(-1, classes)
    weight = both[:-1] / scale[:, None]
    return weight.astype(np.float32), (both[-1] - mean @ weight).astype(np.float32)


def minimize(function, x, steps=60, memory=10):
    """Approximate minimum of a smooth function x -> (value, gradient), by L-BFGS (Nocedal, 1980) with step halving.

    Paddle's own L-BFGS takes twenty times as long for a function of this size.
    """
    value, gradient = function(x)
    pairs = []                                                     # (change of x, change of the gradient, 1 / their product)
    for _ in range(steps):
        direction, factors = -gradient, []
        for s, y, rho in reversed(pairs):
            factors.append(rho * (s @ direction))
            direction = direction - factors[-1] * y
        if pairs:
            s, y, rho = pairs[-1]
            direction = direction / (rho * (y @ y))
        for (s, y, rho), factor in zip(pairs, reversed(factors)):
            direction = direction + (factor - rho * (y @ direction)) * s
        slope, length = float(gradient @ direction), 1.0 if pairs else 1.0 / max(float(np.abs(gradient).sum()), 1e-12)
        while True:
            new = x + length * direction
            new_value, new_gradient = function(new)
            if new_value <= value + 1e-4 * length * slope or length < 1e-8:
                break
            length /= 2
        if not new_value < value:
            break
        s, y = new - x, new_gradient - gradient
        if s @ y > 1e-12:
            pairs = [*pairs[1 - memory:], (s, y, 1.0 / float(s @ y))]
        x, value, gradient = new, new_value, new_gradient
    return x


def choose_strength(known, classes):
    """Choose the strength of `fit` by cross-validation: the one with the least log loss on held-out pictures.

    Returns:
        (strength, held-out logits (N, classes), labels (N,)).
    """
    known = known.part(known.drawn(_MOST))
    logits = [_left_out(known, classes, strength) for strength in _STRENGTHS]
    best = int(np.argmin([log_loss(one, known.labels) for one in logits]))
    return _STRENGTHS[best], logits[best], known.labels


def means_the_same(known, changed, classes, strength=1e-3):
    """Whether pictures keep their class after a change, unlike mirrored letters: True, False, or None if the features tell too
    little.

    Classifiers are trained on unchanged pictures and tested on held-out pictures, unchanged and changed.
    Args:
        changed: features (N, C) of the same pictures after the change.
    """
    right = [_left_out(known, classes, strength, asked).argmax(1) == known.labels for asked in (known.features, changed)]
    lost = right[0].astype(float) - right[1]
    chance = np.bincount(known.labels).max() / len(lost)
    if right[0].mean() < chance + 0.3 * (1 - chance):
        return None
    return bool(lost.mean() <= max(0.03, 2.5 * lost.std() / np.sqrt(len(lost))))


def _left_out(known, classes, strength, asked=None):
    """Held-out logits (N, classes), by cross-validation. `asked`: features to predict from, in place of those of `known`."""
    fold, asked = _folds(known.labels, known.groups), known.features if asked is None else asked
    logits = np.zeros((len(fold), classes), np.float32)
    for number in range(_FOLDS):
        own = fold == number
        if own.any() and not own.all():
            weight, bias = known.part(~own).fit(classes, strength)
            logits[own] = asked[own] @ weight + bias
    return logits


def _folds(labels, groups):
    """Fold of each picture, always the same: each class is spread evenly over the folds, and groups stay together."""
    fold, next_one = {}, {}
    for i in np.random.RandomState(0).permutation(len(labels)):
        if groups[i] not in fold:
            fold[groups[i]] = next_one.get(labels[i], 0) % _FOLDS
            next_one[labels[i]] = next_one.get(labels[i], 0) + 1
    return np.array([fold[group] for group in groups])
