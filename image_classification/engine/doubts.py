"""Warnings in the log about a training that cannot learn or does not learn. They begin with "warning:"."""
import numpy as np

from image_classification.engine.report import class_names
from image_classification.engine.schedule import peak_rate, steps_in_all

FEW_STEPS = 20
GAP = 25.0                                                         # percentage points of accuracy between training and test
SMALL = 100_000                                                    # training pictures in a small data set


def before_training(cfg, steps_per_epoch, images, rate_scale, has_weights, labels=()):
    """Warnings about a configuration that does not suit the number of pictures.

    Args:
        images: number of training pictures.
        rate_scale: factor for the learning rates of the configuration.
        has_weights: whether the network starts from the weights of a file or a checkpoint.
        labels: labels of the training pictures.
    """
    train, lines, steps = cfg.TRAIN, [], steps_in_all(cfg.TRAIN, steps_per_epoch)
    if train.WARMUP_EPOCHS * steps_per_epoch >= steps:
        lines.append(f'the warm-up of {train.WARMUP_EPOCHS:g} epochs is as long as the whole training, or longer: the rate '
                     f'rises to {peak_rate(train, steps_per_epoch) * rate_scale:.3g}, not to {train.BASE_LR * rate_scale:.3g}. '
                     'Set TRAIN.WARMUP_EPOCHS to a tenth of the epochs')
    if steps < FEW_STEPS:
        lines.append(f'the training has {steps} step{"s" * (steps != 1)} in all, of {steps_per_epoch} in an epoch; a network '
                     f'learns little in fewer than {FEW_STEPS}. Raise -epochs, or lower -batch_size')
    if len(labels) and (labels[0] == labels).all():
        lines.append(f'all {images:,} training pictures are of one class, so the network will only learn to predict that class '
                     'always. Add pictures of other classes')
    if train.FREEZE and not has_weights:
        lines.append(f'TRAIN.FREEZE keeps {", ".join(map(str, train.FREEZE))} at random values, because no weights are loaded. '
                     'Give weights by -pretrained, or leave -freeze out')
    if cfg.DATA.DATASET == 'folder' and rate_scale < 0.25 and images < SMALL:
        lines.append(f'the rates are meant for batches of {train.LINEAR_SCALED_LR} and are multiplied by {rate_scale:.3g}, '
                     f'which learns slowly from {images:,} pictures. -cfg {cfg.MODEL.NAME} has a recipe for folders')
    return [f'warning: {line}' for line in lines]


class Tally:
    """Counts how often each class is the label and how often it is predicted, over the images of all processes."""

    def __init__(self, num_classes):
        self.labelled, self.predicted = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)

    def add(self, labels, predicted):
        np.add.at(self.labelled, labels, 1)
        np.add.at(self.predicted, predicted, 1)

    def merge(self, group):
        """Sum the counts over all processes."""
        both = np.asarray(group.sum([*self.labelled.tolist(), *self.predicted.tolist()]))
        self.labelled, self.predicted = np.split(both.astype(np.int64), 2)


def of_evaluation(metrics, tally, names):
    """Warnings about an evaluation, as {kind: line}.

    Args:
        metrics: the result of `evaluate`.
        tally: a `Tally`, or a `Confusion` of the report.
        names: names of the classes.
    """
    images, most = metrics['images'], tally.labelled.argmax()
    share = tally.labelled[most] / images
    if share == 1:
        return {}                                                  # all images are of one class: nothing to tell apart
    names, doubts = class_names(names, len(tally.labelled)), {}
    if np.count_nonzero(tally.predicted) == 1:
        doubts['one class'] = f'warning: {names[tally.predicted.argmax()]!r} is predicted for all {images} images'
    # 95 % of networks that have learned nothing stay below this limit.
    elif metrics['top1'] / 100 <= share + 1.64 * (share * (1 - share) / images) ** 0.5:
        doubts['chance'] = (f'warning: top-1 of {metrics["top1"]:.2f} % is not clearly better than always predicting '
                            f'{names[most]!r}, {100 * share:.2f} %')
    return doubts


class Doubts:
    """Compares training with evaluation. Repeats a warning only at the end of the training.

    Call `saw(outputs, labels)` after each batch, and `after(...)` after each evaluation.
    """

    def __init__(self, names, group):
        self.names, self.group, self.said = names, group, set()
        self.right, self.seen = 0, 0

    def saw(self, outputs, labels):
        """Count the right answers of a batch without waiting for the device. `outputs`: logits, or a list with these first."""
        logits = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        self.right = self.right + (logits.detach().argmax(1) == labels).sum()
        self.seen += len(labels)

    def after(self, metrics, tally, last):
        """Lines for the log. All processes must call this. `last`: whether the training ends here."""
        right, seen = self.group.sum([float(self.right), self.seen])
        self.right, self.seen = 0, 0
        doubts = of_evaluation(metrics, tally, self.names)
        gap = 100 * right / max(seen, 1) - metrics['top1']
        if gap > GAP:
            doubts['gap'] = (f'warning: {100 * right / seen:.1f} % of the training pictures are right, but only '
                             f'{metrics["top1"]:.1f} % of the test pictures: the network overfits, or the test pictures are of '
                             'another kind. Pretrained weights (-pretrained), more pictures or stronger augmentation may help')
        fresh = [line for kind, line in doubts.items() if last or kind not in self.said]
        self.said = set(doubts)
        return fresh
