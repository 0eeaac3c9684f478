"""The loss of a training: that of the labels, plus those of auxiliary heads and of a teacher."""
import paddle.nn.functional as F

from image_classification.config import BOUNDS, check
from image_classification.engine.distill import build_distillation


class Criterion:
    """(outputs, soft targets (B, classes), images (B, C, H, W)) -> loss.

    `outputs` are logits (B, classes), or with auxiliary heads a list of logits, the main ones first.
    Args:
        head_loss: (logits, targets) -> loss.
        aux_weight: weight of each auxiliary head's loss, which is added.
        distillation: (loss so far, logits, images) -> loss.
    """

    def __init__(self, head_loss, aux_weight, distillation):
        self.head_loss, self.aux_weight, self.distillation = head_loss, aux_weight, distillation

    def __call__(self, outputs, targets, images):
        heads = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        heads = [head.astype('float32') for head in heads]
        losses = [self.head_loss(head, targets) for head in heads]
        return self.distillation(losses[0] + self.aux_weight * sum(losses[1:]), heads[0], images)


def build_criterion(cfg, class_names, amp=False):
    """Build the Criterion of a configuration. With `amp`, its teacher computes in cfg.AMP_DTYPE.

    Raises:
        UserError: the loss is unknown, or the teacher is not available or does not fit the classes.
    """
    train = cfg.TRAIN
    check('TRAIN.LOSS', train.LOSS, BOUNDS['TRAIN.LOSS'])
    binary = binary_cross_entropy_sum if train.BCE_SUM else binary_cross_entropy
    return Criterion(cross_entropy if train.LOSS == 'ce' else binary, train.AUX_LOSS_WEIGHT,
                     build_distillation(cfg, class_names, amp))


def cross_entropy(logits, targets):
    return F.cross_entropy(logits, targets, soft_label=True)


def binary_cross_entropy(logits, targets):
    """Binary cross entropy for each class, https://arxiv.org/abs/2110.00476: mean over images and classes."""
    return F.binary_cross_entropy_with_logits(logits, targets)


def binary_cross_entropy_sum(logits, targets):
    """Binary cross entropy, summed over classes, mean over images."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction='none').sum(1).mean()
