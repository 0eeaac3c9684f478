"""Mixup (https://arxiv.org/abs/1710.09412) and CutMix (https://arxiv.org/abs/1905.04899) of a batch with itself reversed."""
import math

import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.config import BOUNDS, check

_NO_BOX = 0, 0, 0, 0                       # top, bottom, left, right


class Mixup:
    """(images (B, C, H, W), labels (B,) int64, generator) -> (images, targets (B, num_classes) float32).

    As in timm, image i is mixed with image B - 1 - i. If everything is off, the images stay and the targets are the smoothed
    one-hot labels: (1 - smoothing) + smoothing / num_classes for the label, smoothing / num_classes for the others.

    Args:
        mixup_alpha, cutmix_alpha: both parameters of the Beta distribution of `lam`, for mixup and for cutmix; 0 turns it off.
        cutmix_minmax: [least, most] share of each side that cutmix pastes, instead of `cutmix_alpha`; [] for none.
        prob: probability that a batch (or pair, or image) is mixed at all.
        switch_prob: probability of cutmix if both are on.
        mode: which images share their random numbers: the whole 'batch', each 'pair' of mixed images, or none ('elem').
    Raises:
        UserError: a value is outside its range. The message names the key, the value and what is wanted.
    """

    def __init__(self, mixup_alpha, cutmix_alpha, cutmix_minmax, prob, switch_prob, smoothing, num_classes, mode='batch'):
        for key, value in (('MIXUP_ALPHA', mixup_alpha), ('CUTMIX_ALPHA', cutmix_alpha), ('CUTMIX_MINMAX', cutmix_minmax),
                           ('MIXUP_PROB', prob), ('MIXUP_SWITCH_PROB', switch_prob), ('SMOOTHING', smoothing),
                           ('MIXUP_MODE', mode)):
            check(f'TRAIN.{key}', value, BOUNDS[f'TRAIN.{key}'])
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = 1.0 if cutmix_minmax else cutmix_alpha   # 1.0 means on: the sides are drawn from minmax
        self.cutmix_minmax = cutmix_minmax
        self.prob = prob
        self.switch_prob = switch_prob
        self.smoothing = smoothing
        self.num_classes = num_classes
        self.mix = {'batch': self._mix_batch, 'pair': self._mix_pairs, 'elem': self._mix_images}[mode]

    @classmethod
    def from_config(cls, cfg):
        train = cfg.TRAIN
        return cls(train.MIXUP_ALPHA, train.CUTMIX_ALPHA, train.CUTMIX_MINMAX, train.MIXUP_PROB, train.MIXUP_SWITCH_PROB,
                   train.SMOOTHING, cfg.MODEL.NUM_CLASSES, train.MIXUP_MODE)

    def __call__(self, images, labels, rng):
        images, lam = self.mix(images, rng)
        off = self.smoothing / self.num_classes
        targets = F.one_hot(labels, self.num_classes).astype('float32') * (1.0 - self.smoothing) + off
        return images, targets * lam + targets.flip(0) * (1.0 - lam)

    def _mix_batch(self, images, rng):
        """The mixed images, and the share of each that comes from its own image."""
        lam, (top, bottom, left, right) = self._draw(*images.shape[2:], rng)
        if lam < 1.0:
            return _reversed(images).scale_(1.0 - lam).add_(images * lam), lam
        if bottom > top and right > left:
            mixed = images.clone()
            mixed[:, :, top:bottom, left:right] = _reversed(images[:, :, top:bottom, left:right])
            images = mixed
        return images, 1.0 - (bottom - top) * (right - left) / math.prod(images.shape[2:])

    def _mix_images(self, images, rng):
        """As `_mix_batch`, with random numbers for each image; the shares are (B, 1)."""
        return _mix_each(images, [self._draw(*images.shape[2:], rng) for _ in range(len(images))])

    def _mix_pairs(self, images, rng):
        """As `_mix_images`, but two images that are mixed with each other share their random numbers. In a batch of odd size,
        the middle image is not mixed."""
        draws = [self._draw(*images.shape[2:], rng) for _ in range(len(images) // 2)]
        return _mix_each(images, draws + [(1.0, _NO_BOX)] * (len(images) % 2) + draws[::-1])

    def _draw(self, height, width, rng):
        """(share that an image keeps, box that is pasted over it): mixup (lam, no box), cutmix (1, box), else (1, no box)."""
        if rng.random() >= self.prob or not (self.mixup_alpha or self.cutmix_alpha):
            return 1.0, _NO_BOX
        cutmix = self.cutmix_alpha > 0 and (self.mixup_alpha == 0 or rng.random() < self.switch_prob)
        alpha = self.cutmix_alpha if cutmix else self.mixup_alpha
        lam = float(rng.beta(alpha, alpha))
        return (1.0, self._box(height, width, lam, rng)) if cutmix else (lam, _NO_BOX)

    def _box(self, height, width, lam, rng):
        """top, bottom, left, right of the pasted part, in pixels."""
        if self.cutmix_minmax:
            least, most = self.cutmix_minmax
            h = int(rng.integers(int(height * least), int(height * most) + 1))
            w = int(rng.integers(int(width * least), int(width * most) + 1))
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return top, top + h, left, left + w
        share = math.sqrt(1.0 - lam)
        h, w = int(height * share), int(width * share)
        y, x = int(rng.integers(height)), int(rng.integers(width))   # the centre, which may be at the border
        top, left = y - h // 2, x - w // 2
        return max(0, top), min(height, top + h), max(0, left), min(width, left + w)


def _mix_each(images, draws):
    """Mix the images (B, C, H, W), each by its (share, box) in `draws`. Returns them, and the shares (B, 1) float32 that come
    from their own images."""
    height, width = images.shape[2:]
    lam = np.array([share for share, _ in draws])
    boxes = np.array([box for _, box in draws])
    top, bottom, left, right = (paddle.to_tensor(side.reshape(-1, 1, 1, 1)) for side in boxes.T)
    y, x = paddle.arange(height).reshape([1, 1, -1, 1]), paddle.arange(width).reshape([1, 1, 1, -1])
    pasted = (y >= top) & (y < bottom) & (x >= left) & (x < right)   # (B, 1, H, W)
    own, other = (_column(share).reshape([-1, 1, 1, 1]) for share in (lam, 1.0 - lam))
    partners = _reversed(images)
    areas = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])   # of the clipped boxes, which are really pasted
    return paddle.where(pasted, partners, images * own + partners * other), _column(lam - areas / (height * width))


def _reversed(images):
    """The images in reversed order. On a CPU, Paddle's `flip` takes a hundred times as long."""
    return images.gather(paddle.arange(len(images) - 1, -1, -1))


def _column(values):
    return paddle.to_tensor(values.astype(np.float32).reshape(-1, 1))
