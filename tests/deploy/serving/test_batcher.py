import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from image_classification.deploy.serving.batcher import Batcher

FOREVER = 60.0


class Gate:
    """A network that doubles; it notes the sizes of its batches and computes only while `open` is set."""

    def __init__(self):
        self.sizes, self.open, self.entered = [], threading.Event(), threading.Event()

    def __call__(self, arrays):
        self.sizes.append(len(arrays))
        self.entered.set()
        assert self.open.wait(FOREVER)
        if (arrays < 0).any():
            raise ValueError('negative')
        return arrays * 2


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def batcher(gate):
    batcher = Batcher(gate, max_batch=4, max_wait=0)
    yield batcher
    gate.open.set()
    batcher.close()


def submit_behind(batcher, gate, values):
    """Futures of values that all wait while the gate is busy with another one."""
    batcher.submit(np.zeros(2))
    assert gate.entered.wait(FOREVER)
    return [batcher.submit(np.full(2, value)) for value in values]


def test_what_waits_is_computed_together_but_never_more_than_max_batch(batcher, gate):
    futures = submit_behind(batcher, gate, range(1, 7))
    assert len(batcher) == 6
    gate.open.set()
    assert [future.result(FOREVER)[1] for future in futures] == [2, 4, 6, 8, 10, 12]
    assert gate.sizes == [1, 4, 2]


def test_a_full_batch_does_not_wait_any_longer(gate):
    gate.open.set()
    batcher = Batcher(gate, max_batch=2, max_wait=FOREVER)
    futures = [batcher.submit(np.ones(1)) for _ in range(2)]
    assert [future.result(FOREVER / 2)[0] for future in futures] == [2, 2] and gate.sizes == [2]
    batcher.close()


def test_an_error_reaches_every_caller_of_its_batch_and_no_other(batcher, gate):
    futures = submit_behind(batcher, gate, [1, -1, 1, 1, 5])
    gate.open.set()
    for future in futures[:4]:
        with pytest.raises(ValueError, match='negative'):
            future.result(FOREVER)
    assert futures[4].result(FOREVER)[0] == 10


def test_what_is_cancelled_while_it_waits_is_not_computed(batcher, gate):
    futures = submit_behind(batcher, gate, [1, 2, 3])
    assert futures[1].cancel()
    gate.open.set()
    assert futures[2].result(FOREVER)[0] == 6 and gate.sizes == [1, 2]


def test_closing_finishes_what_waits_and_refuses_the_rest(batcher, gate):
    futures = submit_behind(batcher, gate, range(6))
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.open.set()
    closing.join(FOREVER)
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match='closed'):
        batcher.submit(np.zeros(2))


def test_each_of_many_threads_gets_its_own_row(batcher, gate):
    gate.open.set()
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda value: batcher.submit(np.full(2, value)).result(FOREVER)[0], range(200))
        assert list(found) == [2 * value for value in range(200)]
    assert max(gate.sizes) <= 4
