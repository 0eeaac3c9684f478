"""Dynamic batching: requests that arrive at nearly the same time are computed together."""
import collections
import threading
import time
from concurrent.futures import Future

import numpy as np


class Batcher:
    """Runs arrays of one shape in batches, in a thread of its own. Any thread may call `submit`.

    Args:
        run: function of a batch (B, ...) that returns an array or a list with one row per item.
        max_batch: the largest batch.
        max_wait: seconds for which the first item of a batch waits for more.
        observe: function that is called with the size of each batch.
    """

    def __init__(self, run, max_batch, max_wait, observe=lambda size: None):
        self._run, self._observe = run, observe
        self._max_batch, self._max_wait = max_batch, max_wait
        self._waiting = collections.deque()                        # (array, its future, time of arrival)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name='batches', daemon=True)
        self._thread.start()

    def submit(self, array):
        """A `concurrent.futures.Future` for the array's row of the result. A future that is cancelled in time is not computed.

        Raises:
            RuntimeError: the batcher is closed.
        """
        future = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError('the batcher is closed')
            self._waiting.append((array, future, time.monotonic()))
            self._changed.notify()
        return future

    def __len__(self):
        """The number of waiting items."""
        return len(self._waiting)

    def close(self):
        """Refuse new items, compute the waiting ones, then return."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self):
        while batch := self._collect():
            running = [(array, future) for array, future, _ in batch if future.set_running_or_notify_cancel()]
            if not running:
                continue
            arrays, futures = zip(*running)
            self._observe(len(arrays))
            try:
                rows = self._run(np.stack(arrays))
            except Exception as error:                             # the callers handle it
                for future in futures:
                    future.set_exception(error)
            else:
                for future, row in zip(futures, rows, strict=True):
                    future.set_result(row)

    def _collect(self):
        """The next batch; empty if the batcher is closed and nothing is waiting."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            while self._waiting and len(self._waiting) < self._max_batch and not self._closed:
                left = self._waiting[0][2] + self._max_wait - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
