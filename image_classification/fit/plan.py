"""How long, how large and how fast to train, by the pictures and by the minutes that there are."""
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import paddle
import paddle.nn.functional as F
from PIL import Image, ImageOps

from image_classification.engine.processes.distributed import gpu_count

SMALL = 96                                                         # pixels: pictures up to here are small
_FRESH = 96                                                        # pixels, for a network that begins with nothing: it needs steps
_EPOCHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 120, 140, 160, 180, 200, 250, 300, 350, 400)
_EVALUATIONS = 10
_MOST_TUNED = 40                                                   # epochs, of weights that know much already
_EVALUATED = 0.4                                                   # time of a picture in evaluation, if it is 1 in training
_BETWEEN = 0.5                                                     # seconds from epoch to epoch
_OVERHEAD = 1.35                                                   # of a step: pictures are read, processes share memory and wait
FAR = 0.1                                                          # a head on published features that errs more knows too little
ENOUGH, _SMALLEST = 20, 160                                        # epochs; pixels
_FEW = 2_000                                                       # pictures: processes that load them for a GPU are not worth their start
MIRRORED, UPSIDE_DOWN, TURNED = 'mirrored', 'upside down', 'turned'
CHANGES = {MIRRORED: ImageOps.mirror, UPSIDE_DOWN: ImageOps.flip, TURNED: lambda image: image.transpose(Image.Transpose.ROTATE_90)}


@dataclass
class Plan:
    """A training that fits into the time."""
    size: int
    batch: int
    epochs: int
    images: int                                                    # per epoch; fewer than there are where the time is short
    seconds: float                                                 # of one picture in a step, by all processes together
    processes: int = 1
    symmetries: tuple = ()                                         # names in CHANGES after which pictures mean the same
    error: float = 0.1                                             # share of pictures that a head on published features takes wrongly
    rate: float = None                                             # the peak; None: by the error and the epochs

    def steps(self):
        return self.epochs * (self.images // self.batch)

    def seconds_in_all(self, validation):
        """Of its steps and evaluations, which have so many pictures."""
        return self.epochs * self.seconds * (self.images + _EVALUATED * validation)


def image_size(default, pictures, fresh, asked=None):
    """The side of the network's input: as asked for, or its own; less where pictures are small, or its weights know nothing."""
    if asked:
        return asked
    default = min(default, _FRESH) if fresh else default
    side = int(np.median([min(picture.size) for picture in pictures]))
    return min(default, max(64, 32 * round(5 * side / 32))) if side <= SMALL else default


def batch_size(images, fresh=False):
    """16 pictures, for few pictures need the steps; 32 of many, or for batch norms that learn. Fewer than that are one batch.

    From nothing, of 410 rendered parts in seven minutes of two cores: 32 by two processes, 200 epochs, 61 % of 120 others; 16 by
    one process, 140 epochs, 54 %.
    """
    return min(images, 32 if images >= _FEW or fresh and images >= 12 * 32 else 16)


def measure(network, size, batch, channels=3, rounds=2):
    """Seconds per picture of a training step."""
    network.train()
    warnings.filterwarnings('ignore', 'When training, we now always track')
    times, images = [], paddle.randn([batch, channels, size, size])
    statistics = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        outputs = network(images)
        logits = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        F.cross_entropy(logits, paddle.zeros([batch], 'int64')).backward()
        for parameter in network.parameters():
            parameter.clear_gradient()
        times.append(time.perf_counter() - begun)
    network.set_state_dict(statistics)
    return _OVERHEAD * min(times[1:]) / batch


def make_plan(seconds_left, training, validation, size, batch, seconds, fresh=False):
    """The Plan for so many pictures; `seconds` is that of one picture in a step. None where not even 20 steps fit."""
    epochs = seconds_left / (seconds * (training + _EVALUATED * validation) + _BETWEEN)
    if epochs >= 1:
        # Of few numbers, so that two runs whose clocks differ a little do the same.
        epochs = epochs if fresh else min(epochs, _MOST_TUNED)
        return Plan(size, batch, max(count for count in _EPOCHS if count <= epochs), training, seconds)
    images = int((seconds_left / seconds - _EVALUATED * validation) // batch * batch)
    return Plan(size, batch, 1, images, seconds) if images >= 20 * batch else None


def fine_tuning_rate(error, epochs):
    """The peak rate: the less published features know of these pictures, the more must be learned; in fewer epochs, faster.

    EfficientNet-Lite0 at 160 pixels: of CIFAR-10, 42 pictures of each class (a head errs on 30 %), 20 epochs at 3e-4 got 79 %
    of others, at 8e-4 76 %. Drawn shapes (45 %): 8 epochs at 1e-4 got 65 %, at 3e-4 86, at 1e-3 93; 16 epochs at 4e-4 97. Rendered
    parts (7 %), 8 epochs: 97 % at 1e-4 and 3e-4, 95 at 1e-3.
    """
    return float(f'{min(max(5.5e-4 * (error * max(ENOUGH / epochs, 1)) ** 0.5, 1e-4), 1e-3):.1g}')


def smaller(plan, seconds_left, training, validation):
    """The plan or, where it has few epochs for pictures that published features do not know, one at a smaller size with more."""
    while plan and plan.epochs < ENOUGH and plan.error > FAR and plan.size - 32 >= _SMALLEST:
        size = plan.size - 32
        seconds = plan.seconds * (size / plan.size) ** 2
        plan = replace(make_plan(seconds_left, training, validation, size, plan.batch, seconds), processes=plan.processes,
                       symmetries=plan.symmetries, error=plan.error)
    return plan


def recipe(plan, fine_tunes):
    """The keys of the training, {dotted key: value}."""
    common = {
        'DATA.IMAGE_SIZE': plan.size, 'DATA.BATCH_SIZE': max(1, plan.batch // plan.processes),
        'DATA.NUM_WORKERS': 4 if gpu_count() and plan.images > _FEW else 0,
        'TRAIN.NUM_EPOCHS': plan.epochs,
        'TRAIN.WARMUP_EPOCHS': round(0.1 * plan.epochs, 2), 'VALIDATE_FREQ': max(1, plan.epochs // _EVALUATIONS),
        'TRAIN.SMOOTHING': 0.1, 'TRAIN.HFLIP': 0.5 * (MIRRORED in plan.symmetries), 'TRAIN.VFLIP': 0.5 * (UPSIDE_DOWN in plan.symmetries),
        'TRAIN.ROTATE': 30.0 * (TURNED in plan.symmetries), 'TRAIN.GRAD_CLIP': 5.0, 'REPORT_FREQ': max(1, plan.steps() // 60),
        'SAVE_FREQ': max(1, plan.epochs // _EVALUATIONS), 'EXPORT': False}
    if fine_tunes:
        # With the batch norms as published: with those of so few pictures it loses what it knew, and seldom gets it back.
        rate = plan.rate or fine_tuning_rate(plan.error, plan.epochs)
        return {**common, 'TRAIN.FREEZE_BN': True, 'TRAIN.BASE_LR': rate, 'TRAIN.END_LR': 1e-6, 'TRAIN.WEIGHT_DECAY': 0.02,
                'TRAIN.CROP_SCALE': [0.5, 1.0], 'TRAIN.COLOR_JITTER': 0.2}
    return {**common, 'TRAIN.BASE_LR': 2e-3, 'TRAIN.END_LR': 1e-5, 'TRAIN.OPTIMIZER.BETAS': [0.9, 0.98], 'TRAIN.WEIGHT_DECAY': 0.05,
            'TRAIN.CROP_SCALE': [0.6, 1.0], 'TRAIN.COLOR_JITTER': 0.1}
