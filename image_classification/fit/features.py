"""Features of pictures by a published network (the input of its classifier), and the choice of the network with the best."""
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

_BATCH, _TRIED = 16, 300                                           # pictures per batch; pictures to compare networks with
_SHARE, _COSTS = 0.15, 1.7                                         # share of the time left to compare; cost of the next network
_STEP = 3.0                                                        # time of a training step, relative to the features


class Features:
    """Computes the features of pictures with a published network.

    Args:
        start: the network, a `Start`.
        side: side of its input in pixels.
    """

    def __init__(self, start, side):
        self.start, self.side, self.seconds = start, side, 0.0     # seconds: for one picture
        self._preprocess = Preprocess.from_config(changed(start.network.config, {'DATA.IMAGE_SIZE': side}))
        self._given = threading.local()
        classifier_of(start.network).register_forward_pre_hook(self._keep)

    def _keep(self, layer, inputs):
        self._given.features = inputs[0]

    def known(self, pictures):
        """Pictures with their features, as a `Known`."""
        return known_of(pictures, self.of(pictures))

    def of(self, pictures, change=lambda image: image):
        """Features (N, C) of pictures. `change` is applied to each PIL image first."""
        begun = time.monotonic()
        self.start.network.eval()

        def run(images):
            self.start.network(paddle.to_tensor(np.stack([self._preprocess(change(image)) for image in images])))
            return self._given.features.flatten(1).numpy()
        found = by_batches(pictures, run, f'features by {self.start.name}')
        self.seconds = (time.monotonic() - begun) / len(pictures)
        return found

    def with_head(self, classes, weight, bias):
        """The network for this number of classes and this input size, with the classifier's weight and bias set."""
        values = {'MODEL.NUM_CLASSES': classes, 'DATA.IMAGE_SIZE': self.side}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')                        # about the fresh classifier: its weights are set below
            network = create_model(changed(self.start.network.config, values), pretrained=self.start.pretrained)
        set_head(network, weight, bias)
        network.eval()
        return network


def by_batches(pictures, function, label):
    """Apply a function from n PIL images to an array (n, ...) to batches, with a thread per core. Concatenates the results."""
    batches = [pictures[i:i + _BATCH] for i in range(0, len(pictures), _BATCH)]

    def run(batch):
        with paddle.no_grad():                                     # applies to the current thread only
            return function([open_image(picture.path, 3) for picture in batch])
    with ThreadPoolExecutor(usable_cores()) as pool:
        return np.concatenate(list(progress_bar(pool.map(run, batches), len(batches), label, leave=False)))


def logits_of(network, pictures):
    """Logits (N, classes), float32, of pictures preprocessed as the network's configuration says."""
    preprocess = Preprocess.from_config(network.config)
    network.eval()
    return by_batches(pictures, lambda images: network.class_logits(
        network(paddle.to_tensor(np.stack([preprocess(image) for image in images])))).numpy(), 'validation pictures')


def best_of(first, known, pictures, classes, others, seconds):
    """The `Features` whose classifier has the lowest log loss on pictures that it was not trained on.

    A later network replaces an earlier one if it is better by half a standard error. So small a margin is enough, because the
    later networks are better on ImageNet anyway.
    Args:
        known: `pictures` with the features by `first`.
        others: iterable of `Features` of larger networks, the cheapest first.
        seconds: time left for the whole fit.
    """
    rows = known.drawn(_TRIED)
    _, logits, labels = choose_strength(known.part(rows), classes)
    tried, answers, cost = [first], [logits], first.seconds
    far = (logits.argmax(1) != labels).mean() > FAR
    for features in others:
        cost *= _COSTS
        # If published features know too little, all layers must learn much, and a larger network learns less in the same time.
        if cost * len(rows) > _SHARE * seconds or far and ENOUGH * _STEP * cost * len(pictures) > seconds:
            break
        tried.append(features)
        answers.append(choose_strength(features.known([pictures[i] for i in rows]), classes)[1])
    return tried[surest(answers, labels, 0.5)]


def thumbnails(pictures, change=lambda image: image):
    """Pictures with 16 x 16 pixels as their features, as a `Known`. For fits without a pretrained network."""
    pixels = np.stack([np.asarray(change(Image.fromarray(picture.small).resize((16, 16)))) for picture in pictures])
    return known_of(pictures, pixels.reshape(len(pixels), -1).astype(np.float32))


def known_of(pictures, features):
    return Known(features, labels_of(pictures), np.array([picture.group for picture in pictures]))


def labels_of(pictures):
    return np.array([picture.label for picture in pictures])


def classifier_of(network):
    """The layer from features to logits."""
    return dict(network.named_sublayers())[network.classifier_layers[0]]


def set_head(network, weight, bias):
    layer = classifier_of(network)
    layer.weight.set_value(weight.reshape(layer.weight.shape))
    layer.bias.set_value(bias)
