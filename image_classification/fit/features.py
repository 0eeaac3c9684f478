"""What a published network sees in pictures, the numbers that its classifier is given; and which network sees most."""
import time
import warnings

import numpy as np
import paddle
from PIL import ImageOps

from image_classification.datasets import Preprocess
from image_classification.datasets.images import open_image
from image_classification.fit.head import Known, choose_strength
from image_classification.fit.statistics import surest
from image_classification.models import create_model
from image_classification.progress import progress_bar

_BATCH, _TRIED = 32, 300                                           # pictures at once; pictures by which networks are compared
_SHARE, _COSTS = 0.1, 2.0                                          # of the time left, for a comparison; a larger network's time


class Features:
    """The features of pictures by a published network.

    Args:
        start: the network, a `Start`.
        side: of its input in pixels.
    """

    def __init__(self, start, side):
        self.start, self.side, self.seconds = start, side, 0.0     # the last: for one picture
        self._preprocess, self._given = Preprocess.from_config(changed(start.network.config, {'DATA.IMAGE_SIZE': side})), []
        classifier_of(start.network).register_forward_pre_hook(lambda layer, inputs: self._given.append(inputs[0]))

    def known(self, pictures, mirrored=True):
        """Their `Known`; without `mirrored`, the pictures stand for their mirror images."""
        begun, turns = time.monotonic(), 1 + mirrored
        with progress_bar(total=turns * len(pictures), label=f'features by {self.start.name}') as bar:
            plain = self._of((open_image(picture.path, 3) for picture in pictures), bar)
            other = self._of((ImageOps.mirror(open_image(picture.path, 3)) for picture in pictures), bar) if mirrored else plain
        self.seconds = (time.monotonic() - begun) / turns / len(pictures)
        return known_of(pictures, plain, other)

    @paddle.no_grad()
    def _of(self, images, bar):
        """(N, C) of an iterable of PIL images."""
        self.start.network.eval()
        found, batch = [], []

        def flush():
            self._given.clear()
            self.start.network(paddle.to_tensor(np.stack(batch)))
            found.append(self._given[0].flatten(1).numpy())
            batch.clear()
        for image in images:
            batch.append(self._preprocess(image))
            bar.update()
            if len(batch) == _BATCH:
                flush()
        if batch:
            flush()
        return np.concatenate(found)

    def with_head(self, classes, weight, bias):
        """The network for these classes and this size, with that classifier."""
        values = {'MODEL.NUM_CLASSES': classes, 'DATA.IMAGE_SIZE': self.side}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')                        # that the classifier starts afresh: it gets its own below
            network = create_model(changed(self.start.network.config, values), pretrained=self.start.pretrained)
        set_head(network, weight, bias)
        network.eval()
        return network


def best_of(first, known, pictures, classes, others, seconds):
    """The `Features` whose classifier is surest of pictures that it has not learned: `first`, unless one of the others is better by
    more than chance.

    Args:
        known: what `first` gives for `pictures`.
        others: `Features` of larger networks, in the order of their cost.
        seconds: that are left for everything.
    """
    rows = np.sort(np.random.RandomState(1).permutation(len(pictures))[:_TRIED])
    _, logits, labels = choose_strength(known.part(rows), classes, flips=False)
    tried, answers, cost = [first], [logits], first.seconds
    for features in others:
        cost *= _COSTS
        if cost * len(rows) > _SHARE * seconds:
            break
        tried.append(features)
        answers.append(choose_strength(features.known([pictures[i] for i in rows], mirrored=False), classes, flips=False)[1])
    return tried[surest(answers, labels)]


def known_of(pictures, plain, mirrored):
    """`Known` of pictures and two arrays (N, ...)."""
    groups = np.array([picture.group for picture in pictures])
    return Known(plain.reshape(len(plain), -1), mirrored.reshape(len(plain), -1), labels_of(pictures), groups)


def labels_of(pictures):
    return np.array([picture.label for picture in pictures])


def classifier_of(network):
    """The layer that makes logits of features."""
    return dict(network.named_sublayers())[network.classifier_layers[0]]


def set_head(network, weight, bias):
    layer = classifier_of(network)
    layer.weight.set_value(weight.reshape(layer.weight.shape))
    layer.bias.set_value(bias)


def changed(cfg, values):
    """A configuration with other values, {dotted key: value}."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list([word for pair in values.items() for word in pair])
    cfg.freeze()
    return cfg
