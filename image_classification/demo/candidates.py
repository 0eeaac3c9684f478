"""The networks that a demo page offers, with their predictions, latencies and heat maps."""
import dataclasses
import math
import os
import statistics
import time
from collections import Counter

from image_classification.deploy.by_name import FORMS, open_predictor
from image_classification.errors import UserError
from image_classification.explain import explain_class, overlay
from image_classification.models import network_by_name
from image_classification.names.text import shown

RUNS = 3                                                           # runs of the network; the latency is their median
_PICTURE_SIDE = 384                                                # smallest side of a heat map in pixels, for a screen


@dataclasses.dataclass(frozen=True)
class Answer:
    best: list                             # [(class name, probability)], best first
    network_ms: float                      # median of RUNS, for one image
    prepare_ms: float                      # from the decoded picture to the network's input


class Candidate:
    """A predictor with the name that the page shows.

    `class_names` are the predictor's. Equal names, like those of ImageNet's two cranes, are distinguished by their index.
    """

    def __init__(self, label, predictor):
        self.label, self.predictor = label, predictor
        names = [shown(name) for name in predictor.class_names]    # a browser needs valid Unicode
        count = Counter(names)
        self.class_names = [f'{name} ({index})' if count[name] > 1 else name for index, name in enumerate(names)]
        predictor.warm_up()

    @property
    def explains(self):
        """Whether heat maps are possible. For an export they are not, because it has no gradients."""
        return self.predictor.network is not None

    def classify(self, image, k=5):
        """PIL image -> Answer with the k most probable classes."""
        started = time.perf_counter()
        batch = self.predictor.prepare(image)[None]
        times = [time.perf_counter()]
        for _ in range(RUNS):
            probabilities = self.predictor.probabilities(batch)[0]
            times.append(time.perf_counter())
        best = probabilities.argsort()[::-1][:k]
        return Answer([(self.class_names[index], float(probabilities[index])) for index in best],
                      1000 * statistics.median(end - start for start, end in zip(times, times[1:])),
                      1000 * (times[0] - started))

    def heat_map(self, image, class_name=None):
        """(PIL image of the part that the network sees, with the heat map of a class over it; the class's name).

        Args:
            class_name: by default the most probable class.
        Raises:
            UserError: this is an export, or it has no such class.
        """
        if not self.explains:
            raise UserError(f'{self.label} is an export, which has no gradients; give the page its checkpoint for a heat map')
        if class_name is not None and class_name not in self.class_names:
            raise UserError(f'{self.label} has no class of that name')
        index = None if class_name is None else self.class_names.index(class_name)
        evidence = explain_class(self.predictor.network, image, index)
        return overlay(self.view(image), evidence.heat), self.class_names[evidence.class_index]

    def view(self, image):
        """The part of a PIL image that the network sees, as RGB with a side of at least _PICTURE_SIDE pixels."""
        preprocess = self.predictor.preprocess
        size = preprocess.image_size * math.ceil(_PICTURE_SIDE / preprocess.image_size)
        return dataclasses.replace(preprocess, image_size=size, mean=(0,), std=(1,), channels=3).crop(image)


def open_candidates(names, engine='auto', threads=None):
    """{label: Candidate} for the names on the command line, in their order.

    Args:
        names: each a checkpoint, an export directory, NAME or NAME=WEIGHTS. Weights are downloaded unless they are on this
            machine.
        engine, threads: for exports, see Predictor.
    Raises:
        UserError: a name is none of these, or a file cannot be read.
    """
    candidates = {}
    for name in names:
        predictor = _open(name, engine, threads)
        label = f'{predictor.name} ({predictor.engine})'
        number = 1 + sum(other.predictor.name == predictor.name and other.predictor.engine == predictor.engine
                         for other in candidates.values())
        label = label if number == 1 else f'{label} {number}'
        candidates[label] = Candidate(label, predictor)
    return candidates


def _open(name, engine, threads):
    if not os.path.exists(name) and not network_by_name(name):
        raise UserError(f'{name} is no file, no directory and no model; wanted {FORMS}')
    return open_predictor(name, engine=engine if os.path.isdir(name) else 'auto', threads=threads)
