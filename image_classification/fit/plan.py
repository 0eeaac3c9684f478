"""Choose epochs, image size, batch size and learning rate of a training by the pictures and the minutes available."""
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import paddle
import paddle.nn.functional as F
from PIL import Image, ImageOps

from image_classification.engine.processes.distributed import gpu_count

SMALL = 96                                                         # pixels: pictures up to this side are small
_FRESH = 96                                                        # pixels: largest side with fresh weights (they need steps)
_EPOCHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 120, 140, 160, 180, 200, 250, 300, 350, 400)
_EVALUATIONS = 10
_MOST_TUNED = 40                                                   # most epochs of a fine-tuning
_EVALUATED = 0.4                                                   # time per picture in evaluation, relative to training
_BETWEEN = 0.5                                                     # seconds between epochs
_OVERHEAD = 1.35                                                   # on a step's time: reading pictures, shared memory, waiting
FAR = 0.1                                                          # with a larger error of the head, features know too little
ENOUGH, _SMALLEST = 20, 160                                        # epochs that suffice; smallest side in `smaller`, in pixels
_FEW = 2_000                                                       # pictures: up to here, loader processes do not pay off
MIRRORED, UPSIDE_DOWN, TURNED = 'mirrored', 'upside down', 'turned'
CHANGES = {MIRRORED: ImageOps.mirror, UPSIDE_DOWN: ImageOps.flip, TURNED: lambda image: image.transpose(Image.Transpose.ROTATE_90)}


@dataclass
class Plan:
    """The settings of a training that fits into the available time."""
    size: int
    batch: int
    epochs: int
    images: int                                                    # pictures per epoch; a part of them if time is short
    seconds: float                                                 # per picture of a training step, all processes together
    processes: int = 1
    symmetries: tuple = ()                                         # names in CHANGES that do not change a picture's class
    error: float = 0.1                                             # error rate of a head on published features
    rate: float = None                                             # peak learning rate; None: chosen by error and epochs

    def steps(self):
        return self.epochs * (self.images // self.batch)

    def seconds_in_all(self, validation):
        """Seconds for all training steps and evaluations, with `validation` pictures in each evaluation."""
        return self.epochs * self.seconds * (self.images + _EVALUATED * validation)


def image_size(default, pictures, fresh, asked=None):
    """Side of the network's input: `asked`, or else its default, reduced if the pictures are small or the weights are fresh."""
    if asked:
        return asked
    default = min(default, _FRESH) if fresh else default
    side = int(np.median([min(picture.size) for picture in pictures]))
    return min(default, max(64, 32 * round(5 * side / 32))) if side <= SMALL else default


def batch_size(images, fresh=False):
    """Pictures per batch: 16 for small data sets, which need the steps; 32 for large ones, and for fresh weights, whose batch
    norms learn. Data sets of fewer pictures are a single batch.

    Measured with fresh weights on 410 rendered parts, in seven minutes on two cores: 61 % of 120 held-out pictures with batches
    of 32 (two processes, 200 epochs), 54 % with batches of 16 (one process, 140 epochs).
    """
    return min(images, 32 if images >= _FEW or fresh and images >= 12 * 32 else 16)


def measure(network, size, batch, channels=3, rounds=2):
    """Measure the seconds per picture of a training step."""
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
    """The Plan for these numbers of pictures; `seconds` is the time per picture of a step. None if not even 20 steps fit."""
    epochs = seconds_left / (seconds * (training + _EVALUATED * validation) + _BETWEEN)
    if epochs >= 1:
        # Choose from a short list, so that small timing differences between two runs do not change the result.
        epochs = epochs if fresh else min(epochs, _MOST_TUNED)
        return Plan(size, batch, max(count for count in _EPOCHS if count <= epochs), training, seconds)
    images = int((seconds_left / seconds - _EVALUATED * validation) // batch * batch)
    return Plan(size, batch, 1, images, seconds) if images >= 20 * batch else None


def fine_tuning_rate(error, epochs):
    """Peak learning rate. It is higher if the head's error is large, as more must be learned, and if there are few epochs.

    Held-out accuracy, measured with EfficientNet-Lite0 at 160 pixels:
    - CIFAR-10, 42 pictures per class (head's error 30 %), 20 epochs: 79 % at 3e-4, 76 % at 8e-4.
    - Drawn shapes (45 %), 8 epochs: 65 % at 1e-4, 86 % at 3e-4, 93 % at 1e-3; 16 epochs: 97 % at 4e-4.
    - Rendered parts (7 %), 8 epochs: 97 % at 1e-4 and 3e-4, 95 % at 1e-3.
    """
    return float(f'{min(max(5.5e-4 * (error * max(ENOUGH / epochs, 1)) ** 0.5, 1e-4), 1e-3):.1g}')


def smaller(plan, seconds_left, training, validation):
    """The plan, with a smaller image size and so more epochs if it has few epochs and the head's error is large."""
    while plan and plan.epochs < ENOUGH and plan.error > FAR and plan.size - 32 >= _SMALLEST:
        size = plan.size - 32
        seconds = plan.seconds * (size / plan.size) ** 2
        plan = replace(make_plan(seconds_left, training, validation, size, plan.batch, seconds), processes=plan.processes,
                       symmetries=plan.symmetries, error=plan.error)
    return plan


def recipe(plan, fine_tunes):
    """Configuration keys of the training, {dotted key: value}."""
    common = {
        'DATA.IMAGE_SIZE': plan.size, 'DATA.BATCH_SIZE': max(1, plan.batch // plan.processes),
        'DATA.NUM_WORKERS': 4 if gpu_count() and plan.images > _FEW else 0,
        'TRAIN.NUM_EPOCHS': plan.epochs,
        'TRAIN.WARMUP_EPOCHS': round(0.1 * plan.epochs, 2), 'VALIDATE_FREQ': max(1, plan.epochs // _EVALUATIONS),
        'TRAIN.SMOOTHING': 0.1, 'TRAIN.HFLIP': 0.5 * (MIRRORED in plan.symmetries), 'TRAIN.VFLIP': 0.5 * (UPSIDE_DOWN in plan.symmetries),
        'TRAIN.ROTATE': 30.0 * (TURNED in plan.symmetries), 'TRAIN.GRAD_CLIP': 5.0, 'REPORT_FREQ': max(1, plan.steps() // 60),
        'SAVE_FREQ': max(1, plan.epochs // _EVALUATIONS), 'EXPORT': False}
    if fine_tunes:
        # Batch norms keep their published statistics: with those of so few pictures a network forgets what it knew, and seldom
        # recovers.
        rate = plan.rate or fine_tuning_rate(plan.error, plan.epochs)
        return {**common, 'TRAIN.FREEZE_BN': True, 'TRAIN.BASE_LR': rate, 'TRAIN.END_LR': 1e-6, 'TRAIN.WEIGHT_DECAY': 0.02,
                'TRAIN.CROP_SCALE': [0.5, 1.0], 'TRAIN.COLOR_JITTER': 0.2}
    return {**common, 'TRAIN.BASE_LR': 2e-3, 'TRAIN.END_LR': 1e-5, 'TRAIN.OPTIMIZER.BETAS': [0.9, 0.98], 'TRAIN.WEIGHT_DECAY': 0.05,
            'TRAIN.CROP_SCALE': [0.6, 1.0], 'TRAIN.COLOR_JITTER': 0.1}
