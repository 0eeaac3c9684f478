"""Batches in an order that depends on seed, epoch and the total batch size only, whatever the number of processes."""
import os
import traceback

import numpy as np
import paddle

from image_classification.errors import UserError

SHARED_MEMORY = '/dev/shm'
_LEAST_SHARED_MEMORY = 256 << 20           # bytes


def get_dataloader(cfg, dataset, is_train, rank=0, world_size=1):
    """The Loader of process `rank` of `world_size`.

    Raises:
        UserError: a batch size or a number of workers that is out of range; fewer images than one step needs.
    """
    data = cfg.DATA
    for key, least in (('BATCH_SIZE', 1), ('BATCH_SIZE_EVAL', 0), ('NUM_WORKERS', 0), ('MAX_BAD_IMAGES', 0)):
        if data[key] < least:
            raise UserError(f'DATA.{key} is {data[key]}; wanted {least} or more')
    batch_size = data.BATCH_SIZE if is_train else data.BATCH_SIZE_EVAL or data.BATCH_SIZE
    total = batch_size * world_size
    if is_train and total > len(dataset):
        raise UserError(f'one training step takes {total} images (DATA.BATCH_SIZE {batch_size} x {world_size} processes), but '
                        f'the data set has {len(dataset)}; set -batch_size {max(1, len(dataset) // world_size)} or less')
    # Batches that wait: two per worker, one that it fills, and two that Paddle copies ahead.
    waiting = batch_size * 3 * data.IMAGE_SIZE ** 2 * 4 * (3 * data.NUM_WORKERS + 2)
    return Loader(dataset, batch_size, is_train, cfg.SEED, rank, world_size, data.NUM_WORKERS, data.MAX_BAD_IMAGES,
                  _has_shared_memory(max(waiting, _LEAST_SHARED_MEMORY)))


class Loader:
    """Batches of (images (B, C, H, W) float32, labels (B,) int64), as Paddle tensors, one epoch at a time.

    Training: a permutation by (seed, epoch) is cut into steps of B x world_size images, of which each process takes its
    part; what is left over at the end is dropped. A file that cannot be read is replaced by the next one that can, and
    noted in `bad_images`. Evaluation: each image once, process r takes images r, r + world_size, ...
    """

    def __init__(self, dataset, batch_size, is_train, seed, rank, world_size, num_workers, max_bad, use_shared_memory):
        self.dataset = dataset
        self.batch_size = batch_size
        self.is_train = is_train
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.num_workers = num_workers
        self.max_bad = max_bad
        self.use_shared_memory = use_shared_memory
        self.bad_images = []               # one message per unreadable training image

    def __len__(self):
        """Batches per epoch of this process."""
        if self.is_train:
            return len(self.dataset) // (self.batch_size * self.world_size)
        return -(-len(range(self.rank, len(self.dataset), self.world_size)) // self.batch_size)

    def epoch(self, epoch, start=0):
        """Yield the batches of an epoch, from number `start` on; the images of those before are not read.

        Raises:
            UserError: an image to evaluate cannot be read, or more than DATA.MAX_BAD_IMAGES to train with.
            RuntimeError: an error in the data set, with its traceback; a worker process that was killed (a SystemError of
                Paddle where its signal handler notices that while the caller is at work).
        """
        self.dataset.epoch = epoch         # before the workers copy the data set
        batches = _Batches(self.dataset, self._indices(epoch), self.max_bad if self.is_train else None)
        read = self._with_workers if self.num_workers else self._in_this_process
        for images, labels, bad, stop in read(batches, range(start, len(self))):
            self._note(bad)
            if stop:
                message, is_user_error = stop
                raise UserError(message) if is_user_error else RuntimeError(f'loading a batch failed:\n{message}')
            yield images, labels

    def _indices(self, epoch):
        """Indices of the data set, one array per batch."""
        n, size = len(self.dataset), self.batch_size
        if self.is_train:
            order = np.random.default_rng([self.seed, epoch]).permutation(n)
            steps = order[:len(self) * size * self.world_size].reshape(len(self), self.world_size, size)
            return list(steps[:, self.rank])
        order = np.arange(self.rank, n, self.world_size)
        return [order[i:i + size] for i in range(0, len(order), size)]

    def _in_this_process(self, batches, numbers):
        # Without Paddle's DataLoader: with 0 workers it hangs for ever after an error in the data set.
        for number in numbers:
            images, labels, bad, stop = batches[number]
            yield paddle.to_tensor(images), paddle.to_tensor(labels), bad, stop

    def _with_workers(self, batches, numbers):
        loader = paddle.io.DataLoader(batches, batch_sampler=[[number] for number in numbers], collate_fn=_only_item,
                                      num_workers=self.num_workers, use_shared_memory=self.use_shared_memory)
        iterator = iter(loader)
        try:
            yield from iterator
        except SystemError as error:       # Paddle's word for a worker that ended before its time
            raise UserError(f'a process that loads images was killed, maybe because memory ran out; try a smaller '
                            f'-num_workers or -batch_size ({error})') from None
        finally:
            # An iterator that is left to the garbage collector waits for its workers for ever: by then the collector has
            # already closed the queue through which it would tell them to end.
            iterator._try_shutdown_all(timeout=5)

    def _note(self, bad):
        self.bad_images += [message for message in dict.fromkeys(bad) if message not in self.bad_images]
        if len(self.bad_images) > self.max_bad:
            raise UserError(f'{len(self.bad_images)} images cannot be read, more than DATA.MAX_BAD_IMAGES {self.max_bad}; '
                            f'repair or remove them. The first are: {"; ".join(self.bad_images[:3])}')


class _Batches(paddle.io.Dataset):
    """batches[k] -> (images, labels, messages of unreadable images, why to stop): batch number k as plain values.

    Errors are values too, `stop` is [] or [message, is_user_error], because Paddle loses an exception on its way
    out of a worker process.
    """

    def __init__(self, dataset, indices, max_bad):
        super().__init__()
        self.dataset = dataset
        self.indices = indices
        self.max_bad = max_bad             # None: an unreadable image ends the epoch

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, number):
        bad = []
        nothing = np.zeros(1, np.float32), np.zeros(1, np.int64)   # Paddle cannot pass on empty arrays
        try:
            images, labels = zip(*[self._sample(int(index), bad) for index in self.indices[number]])
            return np.stack(images), np.array(labels, np.int64).reshape(-1), bad, []
        except UserError as error:
            return *nothing, bad, [str(error), True]
        except Exception:
            return *nothing, bad, [traceback.format_exc(), False]

    def _sample(self, index, bad):
        """The sample at `index`, or the next one after it that can be read."""
        if self.max_bad is None:
            return self.dataset[index]
        for i in range(index, index + len(self.dataset)):
            try:
                return self.dataset[i % len(self.dataset)]
            except UserError as error:
                bad.append(str(error))
                if len(set(bad)) > self.max_bad:
                    break
        raise UserError(f'no readable image after {len(set(bad))} that are not: {bad[0]}')


def _only_item(batches):
    return batches[0]


def _has_shared_memory(size):
    """Whether /dev/shm has room for `size` bytes; where it is smaller, Paddle's workers die of a bus error."""
    try:
        room = os.statvfs(SHARED_MEMORY)
    except (AttributeError, OSError):      # no such call, or no such place, outside Linux
        return False
    return room.f_bavail * room.f_frsize >= size
