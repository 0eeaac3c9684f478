"""Loads batches as tensors, ahead of time in worker processes; `sampler.py` chooses their images."""
import ctypes
import os
import signal
import sys
import threading
import traceback

import numpy as np
import paddle
from paddle.utils.dlpack import from_dlpack

from image_classification.config import check_values
from image_classification.datasets import shared_memory, transforms
from image_classification.datasets.sampler import EvalSampler, TrainSampler, batches_by_size, progressive_sides
from image_classification.errors import TemporaryError, UserError, oom_kills, out_of_memory, ran_out_of_memory

SHARED_MEMORY = '/dev/shm'
_PR_SET_PDEATHSIG = 1                      # <linux/prctl.h>
_GOOD_BATCH, _GOOD_STEPS = 8, 10           # images per step, steps per epoch: with fewer, a network learns next to nothing
_LEAST_SHARED_MEMORY = 256 << 20           # bytes


def get_dataloader(cfg, dataset, is_train, rank=0, world_size=1):
    """The Loader of process `rank` of `world_size`.

    Raises:
        UserError: the batch size, the size of images or the number of workers is out of range, or there are fewer images than
            one step needs.
    """
    data, train = cfg.DATA, cfg.TRAIN
    check_values(cfg, 'DATA.', 'TRAIN.REPEATED_AUG')
    if is_train:
        batches = batches_by_size(train, data.BATCH_SIZE, data.IMAGE_SIZE)
        _check_step(batches, data.BATCH_SIZE, world_size, len(dataset))
        sampler = TrainSampler(len(dataset), batches, train.REPEATED_AUG, cfg.SEED, rank, world_size, progressive_sides(train))
    else:
        batch_size = data.BATCH_SIZE_EVAL or data.BATCH_SIZE
        batches = {data.IMAGE_SIZE: batch_size}
        sampler = EvalSampler(len(dataset), batch_size, data.IMAGE_SIZE, rank, world_size)
    # Batches in memory: per worker two that wait and one that it fills, and two that Paddle copies ahead.
    pixels = max(count * side ** 2 for side, count in batches.items())
    waiting = pixels * 3 * 4 * (3 * data.NUM_WORKERS + 2)
    return Loader(dataset, sampler, data.NUM_WORKERS, data.MAX_BAD_IMAGES if is_train else None,
                  _has_shared_memory(max(waiting, _LEAST_SHARED_MEMORY)))


def _check_step(batches, batch_size, world_size, images):
    side, largest = max(batches.items(), key=lambda item: item[1])
    total = largest * world_size
    if total > images:
        there = f', {largest} at {side} pixels,' if len(batches) > 1 else ''
        most = max(1, images * batch_size // total)
        good = min(most, max(_GOOD_BATCH, most // _GOOD_STEPS))
        steps = images // -(-good * total // batch_size)
        advice = (f'set -batch_size {good}, which makes {steps} step{"s" * (steps > 1)} of an epoch' if steps
                  else 'use fewer processes')
        raise UserError(f'one training step takes {total} images (DATA.BATCH_SIZE {batch_size}{there} x {world_size} '
                        f'process{"es" * (world_size > 1)}), but the data set has {images}; {advice}')


class Loader:
    """Batches of (images (B, C, H, W) float32, labels (B,) int64), as Paddle tensors, one epoch at a time.

    If `max_bad` is None, as for evaluation, an unreadable image is an error. If it is a number, as for training, an unreadable
    image is replaced by the next readable one and noted in `bad_images`; more than `max_bad` of them are an error.
    """

    def __init__(self, dataset, sampler, num_workers, max_bad, use_shared_memory):
        self.dataset = dataset
        self.sampler = sampler
        self.num_workers = num_workers
        self.max_bad = max_bad
        self.use_shared_memory = use_shared_memory
        self.bad_images = []               # one message per unreadable training image

    def __len__(self):
        """Batches per epoch of this process."""
        return len(self.sampler)

    def epoch(self, epoch, start=0, stop=None):
        """Yield the batches of an epoch from number `start` up to, not including, `stop`; by default up to the last. Images of
        other batches are not read.

        Raises:
            UserError: an image for evaluation, or more than DATA.MAX_BAD_IMAGES images for training, cannot be read.
            RuntimeError: an error in the data set, with its traceback.
            TemporaryError: a worker process was killed.
        """
        batches = _Batches(self.dataset, epoch, self.sampler.epoch(epoch), self.max_bad)
        read = self._with_workers if self.num_workers else self._in_this_process
        for images, labels, holes, bad, failure in read(batches, range(len(self))[start:stop]):
            self._note(bad)
            if failure:
                message, is_user_error = failure
                raise UserError(message) if is_user_error else RuntimeError(f'loading a batch failed:\n{message}')
            yield self._normalized(images, holes), labels

    def _normalized(self, images, holes):
        """(B, H, W, C) uint8 -> (B, C, H, W) float32, normalized and erased. A float32 batch is returned unchanged."""
        if images.dtype == paddle.float32:
            return images
        if images.place.is_gpu_place():                            # computing there is cheap, and uint8 is less to copy
            images = normalize_on_device(images, self.dataset.preprocess)
            for number, hole in unpack_holes(holes.numpy()):
                top, left, values = hole
                images[number, :, top:top + values.shape[1], left:left + values.shape[2]] = paddle.to_tensor(values)
            return images
        # On a CPU this takes at most a third of the time of Paddle's operators.
        normalize = transforms.normalize_by_tables if self.dataset.backend == 'opencv' else transforms.normalize
        array = self.dataset.preprocess.normalized(images.numpy(), normalize)
        for number, hole in unpack_holes(holes.numpy()):
            transforms.erase(array[number], [hole])
        return from_dlpack(array)                                  # not to_tensor, which copies

    def paths(self, epoch, number):
        """Files of the images in batch `number` of an epoch, counted from 0; unreadable images are included."""
        return [str(self.dataset.path(int(index))) for index in self.sampler.epoch(epoch)[number].indices]

    def _in_this_process(self, batches, numbers):
        # Without Paddle's DataLoader, which hangs for ever with 0 workers after an error in the data set.
        for number in numbers:
            images, labels, holes, bad, stop = batches[number]
            yield paddle.to_tensor(images), paddle.to_tensor(labels), paddle.to_tensor(holes), bad, stop

    def _with_workers(self, batches, numbers):
        loader = paddle.io.DataLoader(batches, batch_sampler=[[number] for number in numbers], collate_fn=_only_item,
                                      num_workers=self.num_workers, use_shared_memory=self.use_shared_memory,
                                      worker_init_fn=_end_with_parent)
        handler, killed = signal.getsignal(signal.SIGCHLD), oom_kills()
        iterator = iter(loader)
        workers = [worker.pid for worker in iterator._workers]
        shared_memory.watch_over(workers)
        if threading.current_thread() is threading.main_thread():
            # When a worker dies, Paddle's signal handler raises an exception wherever this process is, maybe in the middle of
            # an optimizer's step. Without that handler the iterator notices within 5 s. None: the handler is not Python's.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL if handler is None else handler)
        try:
            yield from iterator
        except SystemError:                # Paddle raises this if a worker ended too early
            reason = 'as memory ran out' if oom_kills() > killed else 'maybe because memory ran out'
            raise TemporaryError(f'a process that loads images was killed, {reason}; try a smaller -num_workers or '
                                 '-batch_size') from None
        finally:
            # An iterator that is garbage-collected waits for its workers for ever: by then the queue that would tell them to
            # end has already been closed.
            iterator._try_shutdown_all(timeout=5)
            shared_memory.have_ended(workers)

    def _note(self, bad):
        self.bad_images += [message for message in dict.fromkeys(bad) if message not in self.bad_images]
        if self.max_bad is not None and len(self.bad_images) > self.max_bad:
            raise UserError(f'{len(self.bad_images)} images cannot be read, more than DATA.MAX_BAD_IMAGES {self.max_bad}; '
                            f'repair or remove them. The first are: {"; ".join(self.bad_images[:3])}')


class _Batches(paddle.io.Dataset):
    """batches[k] -> (images, labels, holes from `pack_holes`, messages about unreadable images, stop): batch number k of an
    epoch as plain values.

    An `ImageDataset` gives its 8-bit `pixels`, which are a quarter of the bytes to send. Any other data set gives (image,
    label) by index.

    Errors are values, too, because Paddle loses an exception on its way out of a worker process: `stop` is [] or [message,
    is_user_error].
    """

    def __init__(self, dataset, epoch, batches, max_bad):
        super().__init__()
        self.dataset = dataset
        self.epoch = epoch
        self.batches = batches             # from the sampler
        self.max_bad = max_bad             # None: an unreadable image ends the epoch

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, number):
        bad = []
        nothing = np.zeros(1, np.float32), np.zeros(1, np.int64), pack_holes([])   # Paddle cannot pass on empty arrays
        indices, copies, size = self.batches[number]
        try:
            samples = [self._sample(int(index), int(copy), size, bad) for index, copy in zip(indices, copies)]
            images, holes, labels = zip(*samples)
            return np.stack(images), np.array(labels, np.int64).reshape(-1), pack_holes(holes), bad, []
        except UserError as error:
            return *nothing, bad, [str(error), True]
        except Exception as error:
            if ran_out_of_memory(error):
                return *nothing, bad, [str(out_of_memory(error)), True]
            return *nothing, bad, [traceback.format_exc(), False]

    def _sample(self, index, copy, size, bad):
        """The sample at `index` or, if it is unreadable, the next readable one."""
        if self.max_bad is None:
            return self._read(index, copy, size)
        for i in range(index, index + len(self.dataset)):
            try:
                return self._read(i % len(self.dataset), copy, size)
            except UserError as error:
                bad.append(str(error))
                if len(set(bad)) > self.max_bad:
                    break
        raise UserError(f'no readable image after {len(set(bad))} that are not: {bad[0]}')

    def _read(self, index, copy, size):
        if hasattr(self.dataset, 'pixels'):
            return self.dataset.pixels(index, self.epoch, copy, size)
        image, label = self.dataset[index]
        return image, [], label


def pack_holes(holes):
    """Pack the holes of all images of a batch into one array: their count, then for each hole the number of its image, top,
    left, the shape (C, height, width) of its values, and the values. Whole numbers below 2 ** 24 are exact in float32."""
    flat = [(number, top, left, values) for number, found in enumerate(holes) for top, left, values in found]
    parts = [np.float32([len(flat)])]
    for number, top, left, values in flat:
        parts += [np.float32([number, top, left, *values.shape]), values.ravel()]
    return np.concatenate(parts)


def unpack_holes(packed):
    """Unpack the array from `pack_holes`: yield (number of the image, (top, left, values (C, h, w)))."""
    place = 1
    for _ in range(int(packed[0])):
        number, top, left, *shape = (int(value) for value in packed[place:place + 6])
        end = place + 6 + int(np.prod(shape))
        yield number, (top, left, packed[place + 6:end].reshape(shape))
        place = end


def normalize_on_device(images, preprocess):
    """The same as `Preprocess.normalized`, for a Paddle tensor."""
    mean, std = (paddle.to_tensor(values, 'float32').reshape([-1, 1, 1]) for values in (preprocess.mean, preprocess.std))
    images = (images.transpose([0, 3, 1, 2]).astype('float32') / 255 - mean) / std
    order = preprocess.order
    return images if order == slice(None) else images[:, order]


def _end_with_parent(worker):
    """Let Linux kill a worker process when the training process is killed, because it would otherwise wait for ever."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _only_item(batches):
    return batches[0]


def _has_shared_memory(size):
    """Whether /dev/shm has room for `size` bytes; with less, Paddle's workers die of a bus error."""
    try:
        room = os.statvfs(SHARED_MEMORY)
    except (AttributeError, OSError):      # outside Linux, the function or the directory is missing
        return False
    return room.f_bavail * room.f_frsize >= size
