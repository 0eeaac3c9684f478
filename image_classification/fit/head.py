"""A classifier on features that are computed once: seconds, and already good where the features are those of ImageNet."""
import warnings

import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.fit.statistics import log_loss

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)                              # of the weights' squares, beside the mean loss
_BATCH = 32


def classifier_of(network):
    """The layer that makes logits of features."""
    return dict(network.named_sublayers())[network.classifier_layers[0]]


class Features:
    """What a network's classifier is given, and its inputs of one size: (C,) float32 per picture."""

    def __init__(self, network, preprocess):
        self.network, self.preprocess = network, preprocess
        self._given = []
        classifier_of(network).register_forward_pre_hook(lambda layer, inputs: self._given.append(inputs[0]))

    @paddle.no_grad()
    def of(self, images, tick=lambda: None):
        """(N, C) of an iterable of PIL images."""
        self.network.eval()
        found, batch = [], []

        def flush():
            self._given.clear()
            self.network(paddle.to_tensor(np.stack(batch)))
            found.append(self._given[0].flatten(1).numpy())
            batch.clear()
        for image in images:
            batch.append(self.preprocess(image))
            tick()
            if len(batch) == _BATCH:
                flush()
        if batch:
            flush()
        return np.concatenate(found)


def fit_head(features, labels, classes, weights=None, strength=1e-2, steps=60):
    """Multinomial logistic regression: (weight (C, classes), bias (classes,)), float32, for features as they are.

    Args:
        weights: of each class in the loss; None: all equal.
        strength: of the weights' squares; features are standardized first, so that it means the same for every network.
    """
    mean, scale = features.mean(0), features.std(0) + 1e-3 * features.std() + 1e-8
    x = paddle.to_tensor(((features - mean) / scale / np.sqrt(features.shape[1])).astype('float32'))
    y = paddle.to_tensor(labels.astype('int64'))
    each = paddle.to_tensor((np.ones(classes) if weights is None else weights).astype('float32'))
    zero = paddle.nn.initializer.Constant(0.0)
    weight, bias = (paddle.create_parameter(shape, 'float32', default_initializer=zero)
                    for shape in ([features.shape[1], classes], [classes]))
    optimizer = paddle.optimizer.LBFGS(1.0, max_iter=steps, line_search_fn='strong_wolfe', parameters=[weight, bias])

    def closure():
        optimizer.clear_grad()
        losses = F.cross_entropy(x @ weight + bias, y, reduction='none')
        loss = (losses * each[y]).mean() + strength * weight.square().sum() / classes
        loss.backward()
        return loss
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')                            # Paddle's own: its LBFGS makes tensors of tensors
        optimizer.step(closure)
    found = weight.numpy() / scale[:, None] / np.sqrt(features.shape[1])
    return found.astype(np.float32), (bias.numpy() - mean @ found).astype(np.float32)


def choose_head(features, labels, classes, held, held_labels, weights=None):
    """(weight, bias, logits of the held pictures, a function (features, labels) -> (weight, bias) of the same strength): the
    strength whose loss on the held pictures is least."""
    best = None
    for strength in _STRENGTHS:
        weight, bias = fit_head(features, labels, classes, weights, strength)
        logits = held @ weight + bias
        loss = log_loss(logits, held_labels)
        if best is None or loss < best[0]:
            best = loss, weight, bias, logits, strength
    return *best[1:4], lambda features, labels: fit_head(features, labels, classes, weights, best[4])
