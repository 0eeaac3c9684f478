"""Chooses the images and sizes of batches by seed, epoch and total batch size, whatever the number of processes."""
from typing import NamedTuple

import numpy as np

from image_classification.config import BOUNDS, check
from image_classification.errors import UserError


class Batch(NamedTuple):
    """One batch of one process."""
    indices: np.ndarray                    # (B,) in the data set
    copies: np.ndarray                     # (B,) which copy of the image, from 0 on; each copy is transformed in its own way
    size: int                              # side of the images, in pixels


class EvalSampler:
    """Each image once: process r takes the images r, r + world_size, ..., and the last batch may be smaller."""

    def __init__(self, count, batch_size, size, rank, world_size):
        self.indices = np.arange(rank, count, world_size)
        self.batch_size, self.size = batch_size, size

    def __len__(self):
        """Batches of this process."""
        return -(-len(self.indices) // self.batch_size)

    def epoch(self, epoch):
        """The list of Batches, the same in each epoch."""
        parts = [self.indices[i:i + self.batch_size] for i in range(0, len(self.indices), self.batch_size)]
        return [Batch(part, np.zeros_like(part), self.size) for part in parts]


class TrainSampler:
    """A permutation by (seed, epoch), cut into steps. Each process takes its part of a step; leftover images are dropped.

    With `copies` above 1, each image comes that many times in a row (https://arxiv.org/abs/1902.05509), as in DeiT. An epoch
    keeps its number of steps, so it sees one in `copies` images, and the copies of an image go to different processes.

    With several sizes, each step has one of them, the same in all processes. Within an epoch the sizes come equally often, in
    random order. Each epoch has the same number of steps, and no image comes twice.

    Args:
        count: number of images in the data set.
        batches: {side of the images in pixels: images per process and step}.
        side_of: epoch -> side of all images in it, instead of the sides in `batches`.
    """

    def __init__(self, count, batches, copies, seed, rank, world_size, side_of=None):
        self.side_of = side_of
        self.count, self.copies = count, max(1, copies)
        self.sizes = np.array(list(batches))
        self.totals = np.array(list(batches.values())) * world_size    # images per step of all processes
        self.seed, self.rank, self.world_size = seed, rank, world_size
        rounds = count // int(self.totals.sum())                   # a round has each size once
        # The sizes of the last, incomplete round depend on the epoch. It must fit even with the largest batches.
        largest = np.cumsum(np.sort(self.totals)[::-1])
        self.steps = rounds * len(batches) + int((largest <= count - rounds * largest[-1]).sum())

    def __len__(self):
        """Batches per epoch of each process."""
        return self.steps

    def epoch(self, epoch):
        """The list of Batches of an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        order = np.repeat(rng.permutation(self.count), self.copies)[:self.count]
        copies = np.arange(self.count) % self.copies
        rounds, rest = divmod(self.steps, len(self.sizes))
        kinds = np.repeat(np.arange(len(self.sizes)), rounds)
        if len(self.sizes) > 1:
            kinds = rng.permutation(np.append(kinds, rng.choice(len(self.sizes), rest, replace=False)))
        ends = np.cumsum(self.totals[kinds])
        spans = [slice(end - self.totals[kind], end) for kind, end in zip(kinds, ends)]
        sizes = [self.side_of(epoch)] * len(self.sizes) if self.side_of else self.sizes
        return [Batch(self._part(order[span]), self._part(copies[span]), int(sizes[kind]))
                for kind, span in zip(kinds, spans)]

    def _part(self, step):
        """This process's part of a step."""
        if self.copies == 1:
            return step.reshape(self.world_size, -1)[self.rank]
        return step.reshape(-1, self.world_size)[:, self.rank]     # neighbours are copies and go to different processes


def progressive_sides(train):
    """A function epoch -> side in pixels, which gives each of TRAIN.PROGRESSIVE_SIZES an equal part of the training; None if
    there are none.

    Small images at first save time, as in https://arxiv.org/abs/2104.00298; the last size is that of the evaluation.
    Raises:
        UserError: TRAIN.MULTI_SCALE is set, too.
    """
    sides = train.PROGRESSIVE_SIZES
    check('TRAIN.PROGRESSIVE_SIZES', sides, BOUNDS['TRAIN.PROGRESSIVE_SIZES'])
    if not sides:
        return None
    if train.MULTI_SCALE:
        raise UserError(f'TRAIN.PROGRESSIVE_SIZES is {list(sides)}; wanted [] beside TRAIN.MULTI_SCALE '
                        f'{list(train.MULTI_SCALE)}')
    epochs, parts = train.NUM_EPOCHS, len(sides)
    if epochs < parts:                                             # some sizes are left out, never the last one
        return lambda epoch: sides[(min(epoch, epochs - 1) + 1) * parts // epochs - 1]
    return lambda epoch: sides[min(epoch, epochs - 1) * parts // epochs]


def batches_by_size(train, batch_size, image_size):
    """{side of training images in pixels: images per batch}. Each batch has about as many pixels as one of the normal size, and
    never more.

    Args:
        train: the group TRAIN of a configuration.
        batch_size, image_size: those of DATA. `batch_size` is meant for TRAIN.IMAGE_SIZE or, if that is 0, for `image_size`.
    Raises:
        UserError: a size, a range or a step is out of its bounds, or the batch is too small for the largest size.
    """
    limits, step, base = train.MULTI_SCALE, train.MULTI_SCALE_STEP, train.IMAGE_SIZE or image_size
    if not limits:
        return {base: batch_size}
    for key in ('TRAIN.MULTI_SCALE', 'TRAIN.MULTI_SCALE_STEP'):
        check(key, train[key.partition('.')[2]], BOUNDS[key])
    sizes = {side: batch_size * base ** 2 // side ** 2 for side in range(limits[0], limits[1] + 1, step)}
    if not min(sizes.values()):
        side = max(sizes)
        raise UserError(f'DATA.BATCH_SIZE is {batch_size} at {base} pixels, which is less than one image of {side} pixels '
                        f'(TRAIN.MULTI_SCALE); set -batch_size {-(-side ** 2 // base ** 2)} or more')
    return sizes
