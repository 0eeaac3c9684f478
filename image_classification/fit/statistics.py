"""Confidence intervals of a measured accuracy, and calibration of probabilities."""
from math import lgamma, log, log1p

import numpy as np

_OUTSIDE = 0.025                                                   # probability on either side of a 95 % interval
_LOG_FACTORIAL = np.vectorize(lambda n: lgamma(n + 1.0), otypes=[float])
_BINS = 15


def interval(right, count):
    """Exact 95 % confidence interval (Clopper and Pearson, 1934) of right / count, in percent: (low, high)."""
    low = 0.0 if right == 0 else _bisect(lambda share: _tail(right, count, share) > _OUTSIDE)
    high = 1.0 if right == count else _bisect(lambda share: 1.0 - _tail(right + 1, count, share) < _OUTSIDE)
    return 100 * low, 100 * high


def _tail(least, count, share):
    """Probability of `least` or more right answers in `count`, if each is right with probability `share`."""
    k = np.arange(least, count + 1)
    logs = _LOG_FACTORIAL(count) - _LOG_FACTORIAL(k) - _LOG_FACTORIAL(count - k) + k * log(share) + (count - k) * log1p(-share)
    return float(np.exp(logs).sum())


def _bisect(is_above):
    """The share from 0 to 1 at which `is_above` becomes true."""
    low, high = 1e-12, 1.0 - 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return low


def softmax(logits, temperature=1.0):
    """(N, classes) -> probabilities (N, classes), float64."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    exponents = np.exp(scaled)
    return exponents / exponents.sum(1, keepdims=True)


def losses(logits, labels, temperature=1.0):
    """Cross entropy of each picture in nats."""
    return -np.log(np.clip(softmax(logits, temperature)[np.arange(len(labels)), labels], 1e-12, None))


def log_loss(logits, labels, temperature=1.0):
    """Mean cross entropy in nats."""
    return float(losses(logits, labels, temperature).mean())


def surest(candidates, labels, errors=1.0):
    """Index of the candidate (an array of logits) with the least log loss, each at its own best temperature.

    A later candidate replaces an earlier one only if it is better by more than `errors` standard errors of the difference,
    because on a few pictures a small difference is chance.
    """
    each = [losses(logits, labels, find_temperature(logits, labels)) for logits in candidates]
    best = 0
    for number, own in enumerate(each):
        gain = each[best] - own
        if gain.mean() > errors * gain.std() / np.sqrt(len(gain)):
            best = number
    return best


def find_temperature(logits, labels):
    """The temperature with the least log loss (Guo et al., https://arxiv.org/abs/1706.04599), between 0.05 and 20.

    As with Platt's targets, each label counts as right in N + 1 of N + 2 cases. So a few pictures that are all right do not
    lead to infinite certainty.
    """
    doubt, classes = 1.0 / (len(labels) + 2), logits.shape[1]
    targets = np.full(logits.shape, doubt / max(classes - 1, 1))
    targets[np.arange(len(labels)), labels] = 1.0 - doubt
    grid = np.exp(np.linspace(np.log(0.05), np.log(20.0), 241))
    losses = [-(targets * np.log(np.clip(softmax(logits, t), 1e-12, None))).sum() for t in grid]
    return float(grid[int(np.argmin(losses))])


def calibration_error(probabilities, labels):
    """Expected calibration error, 0 to 1: mean distance between confidence and accuracy, over 15 bins of confidence."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return float(sum(abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)))
