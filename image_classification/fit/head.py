"""A classifier on features that are computed once: seconds, and already good where the features are those of ImageNet."""
from dataclasses import dataclass

import numpy as np

from image_classification.fit.statistics import log_loss, softmax

_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2)                              # of the weights' squares, beside the mean loss
_FOLDS, _MOST = 5, 3_000                                           # parts, and pictures, that choose the strength


@dataclass
class Known:
    """Pictures of which the features are known."""
    features: np.ndarray                                           # (N, C) float32
    labels: np.ndarray                                             # (N,)
    groups: np.ndarray                                             # (N,), the same number for pictures that belong together

    def part(self, rows):
        return Known(self.features[rows], self.labels[rows], self.groups[rows])

    def and_of(self, other):
        """These and those."""
        return Known(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values())))

    def drawn(self, count):
        """Sorted numbers of `count` of them, or of all where there are fewer; the same ones each time."""
        return np.sort(np.random.RandomState(0).permutation(len(self.labels))[:count])

    def fit(self, classes, strength):
        """(weight, bias) of a classifier for all of them."""
        counts = np.bincount(self.labels, minlength=classes)
        return fit_head(self.features, self.labels, classes, counts.mean() / np.maximum(counts, 1), strength)


def fit_head(features, labels, classes, weights=None, strength=1e-2):
    """Multinomial logistic regression: (weight (C, classes), bias (classes,)), float32, for features as they are.

    Args:
        weights: of each class in the loss; None: all equal.
        strength: of the weights' squares; features are standardized first, so that it means the same for every network.
    """
    mean, scale = features.mean(0), features.std(0) + 1e-3 * features.std() + 1e-8
    scale = scale * np.sqrt(features.shape[1])
    x = np.concatenate([(features - mean) / scale, np.ones((len(features), 1))], 1).astype(np.float32)
    each = np.ones(classes) if weights is None else weights
    share = (each[labels] / len(labels)).astype(np.float32)[:, None]
    truth = np.eye(classes, dtype=np.float32)[labels]
    decay = np.full((x.shape[1], 1), strength / classes, np.float32)
    decay[-1] = 0.0                                                # the bias is free

    def loss(flat):
        both = flat.reshape(-1, classes)
        probabilities = softmax(x @ both)
        value = -(share * truth * np.log(np.maximum(probabilities, 1e-30))).sum() + (decay * both ** 2).sum()
        return float(value), (x.T @ (share * (probabilities - truth).astype(np.float32)) + 2 * decay * both).ravel()
    both = minimize(loss, np.zeros(x.shape[1] * classes, np.float32)).reshape(-1, classes)
    weight = both[:-1] / scale[:, None]
    return weight.astype(np.float32), (both[-1] - mean @ weight).astype(np.float32)


def minimize(function, x, steps=60, memory=10):
    """L-BFGS (Nocedal, 1980) with halved steps: where the smooth function x -> (value, gradient) is about least.

    Paddle's own takes twenty times as long for a function of this size.
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
    """(the strength of `fit` with the least log loss on pictures that a classifier has not learned, by cross-validation; the
    logits of those pictures, (N, classes), and their labels)."""
    known = known.part(known.drawn(_MOST))
    logits = [_left_out(known, classes, strength) for strength in _STRENGTHS]
    best = int(np.argmin([log_loss(one, known.labels) for one in logits]))
    return _STRENGTHS[best], logits[best], known.labels


def means_the_same(known, changed, classes, strength=1e-3):
    """Whether pictures mean the same after a change, as letters do not when they are mirrored: True, False, or None where the
    features tell too little.

    A classifier that has seen none of them changed is asked for those that it has not learned.

    Args:
        changed: (N, C), the features of the same pictures, changed.
    """
    right = [_left_out(known, classes, strength, asked).argmax(1) == known.labels for asked in (known.features, changed)]
    lost = right[0].astype(float) - right[1]
    chance = np.bincount(known.labels).max() / len(lost)
    if right[0].mean() < chance + 0.3 * (1 - chance):
        return None
    return bool(lost.mean() <= max(0.03, 2.5 * lost.std() / np.sqrt(len(lost))))


def _left_out(known, classes, strength, asked=None):
    """Logits (N, classes) of each picture, or of `asked` in its place, by a classifier that has not learned it."""
    fold, asked = _folds(known.labels, known.groups), known.features if asked is None else asked
    logits = np.zeros((len(fold), classes), np.float32)
    for number in range(_FOLDS):
        own = fold == number
        if own.any() and not own.all():
            weight, bias = known.part(~own).fit(classes, strength)
            logits[own] = asked[own] @ weight + bias
    return logits


def _folds(labels, groups):
    """The fold of each picture: of each class as many in each, groups together, always the same."""
    fold, next_one = {}, {}
    for i in np.random.RandomState(0).permutation(len(labels)):
        if groups[i] not in fold:
            fold[groups[i]] = next_one.get(labels[i], 0) % _FOLDS
            next_one[labels[i]] = next_one.get(labels[i], 0) + 1
    return np.array([fold[group] for group in groups])
