"""What a published network sees in pictures, the numbers that its classifier is given; and which network sees most."""
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
from PIL import Image

from image_classification.config import changed
from image_classification.cpu.settings import usable_cores
from image_classification.datasets import Preprocess
from image_classification.datasets.images import open_image
from image_classification.fit.head import Known, choose_strength
from image_classification.fit.plan import ENOUGH, FAR
from image_classification.fit.statistics import surest
from image_classification.models import create_model
from image_classification.progress import progress_bar

_BATCH, _TRIED = 16, 300                                           # pictures at once; pictures by which networks are compared
_SHARE, _COSTS = 0.15, 1.7                                         # of the time left, for a comparison; a larger network's time
_STEP = 3.0                                                        # time of a picture in a step, if it is 1 for its features


class Features:
    """The features of pictures by a published network.

    Args:
        start: the network, a `Start`.
        side: of its input in pixels.
    """

    def __init__(self, start, side):
        self.start, self.side, self.seconds = start, side, 0.0     # the last: for one picture
        self._preprocess = Preprocess.from_config(changed(start.network.config, {'DATA.IMAGE_SIZE': side}))
        self._given = threading.local()
        classifier_of(start.network).register_forward_pre_hook(self._keep)

    def _keep(self, layer, inputs):
        self._given.features = inputs[0]

    def known(self, pictures):
        """Their `Known`."""
        return known_of(pictures, self.of(pictures))

    def of(self, pictures, change=lambda image: image):
        """(N, C) of pictures, after a change of each PIL image."""
        begun = time.monotonic()
        self.start.network.eval()

        def run(images):
            self.start.network(paddle.to_tensor(np.stack([self._preprocess(change(image)) for image in images])))
            return self._given.features.flatten(1).numpy()
        found = by_batches(pictures, run, f'features by {self.start.name}')
        self.seconds = (time.monotonic() - begun) / len(pictures)
        return found

    def with_head(self, classes, weight, bias):
        """The network for these classes and this size, with that classifier."""
        values = {'MODEL.NUM_CLASSES': classes, 'DATA.IMAGE_SIZE': self.side}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')                        # that the classifier starts afresh: it gets its own below
            network = create_model(changed(self.start.network.config, values), pretrained=self.start.pretrained)
        set_head(network, weight, bias)
        network.eval()
        return network


def by_batches(pictures, function, label):
    """Arrays (n, ...) that a function gives for lists of n PIL images, one behind the other: a thread works on each core."""
    batches = [pictures[i:i + _BATCH] for i in range(0, len(pictures), _BATCH)]

    def run(batch):
        with paddle.no_grad():                                     # which holds for a thread
            return function([open_image(picture.path, 3) for picture in batch])
    with ThreadPoolExecutor(usable_cores()) as pool:
        return np.concatenate(list(progress_bar(pool.map(run, batches), len(batches), label, leave=False)))


def logits_of(network, pictures):
    """(N, classes) float32 of pictures as the network's configuration prepares them."""
    preprocess = Preprocess.from_config(network.config)
    network.eval()
    return by_batches(pictures, lambda images: network.class_logits(
        network(paddle.to_tensor(np.stack([preprocess(image) for image in images])))).numpy(), 'deciding pictures')


def best_of(first, known, pictures, classes, others, seconds):
    """The `Features` whose classifier is surest of pictures that it has not learned: `first`, unless a later one is better by
    half a standard error. That is little, for on ImageNet it is better anyway.

    Args:
        known: what `first` gives for `pictures`.
        others: `Features` of larger networks, one after another, in the order of their cost.
        seconds: that are left for everything.
    """
    rows = known.drawn(_TRIED)
    _, logits, labels = choose_strength(known.part(rows), classes)
    tried, answers, cost = [first], [logits], first.seconds
    far = (logits.argmax(1) != labels).mean() > FAR
    for features in others:
        cost *= _COSTS
        # Where much must be learned, a larger network learns less in the same minutes.
        if cost * len(rows) > _SHARE * seconds or far and ENOUGH * _STEP * cost * len(pictures) > seconds:
            break
        tried.append(features)
        answers.append(choose_strength(features.known([pictures[i] for i in rows]), classes)[1])
    return tried[surest(answers, labels, 0.5)]


def thumbnails(pictures, change=lambda image: image):
    """`Known` of pictures whose features are a few pixels: where no network knows anything yet."""
    pixels = np.stack([np.asarray(change(Image.fromarray(picture.small).resize((16, 16)))) for picture in pictures])
    return known_of(pictures, pixels.reshape(len(pixels), -1).astype(np.float32))


def known_of(pictures, features):
    return Known(features, labels_of(pictures), np.array([picture.group for picture in pictures]))


def labels_of(pictures):
    return np.array([picture.label for picture in pictures])


def classifier_of(network):
    """The layer that makes logits of features."""
    return dict(network.named_sublayers())[network.classifier_layers[0]]


def set_head(network, weight, bias):
    layer = classifier_of(network)
    layer.weight.set_value(weight.reshape(layer.weight.shape))
    layer.bias.set_value(bias)
