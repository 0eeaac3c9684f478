"""How many processes and threads train on a CPU."""
import json
import time

import pytest

from image_classification.config import changed
from image_classification.engine import launch, workers
from image_classification.engine.processes.distributed import Group
from image_classification.engine.workers import candidates, take_turns, with_workers
from image_classification.errors import TemporaryError

RATES = [[1, 1, 100.0], [1, 4, 150.0], [4, 1, 300.0], [2, 2, 200.0]]


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Four cores, an empty cache, and a list of what has been measured, with the rates above."""
    calls = []

    def measure(cfg, choice):
        calls.append(choice)
        return [row for row in RATES if (row[0], row[1]) in choice]
    monkeypatch.setattr(workers, 'usable_cores', lambda: 4)
    monkeypatch.setattr(workers, 'cache_directory', lambda: tmp_path)
    monkeypatch.setattr(workers, '_measured', measure)
    return calls


@pytest.mark.parametrize('batch, cores, threads, expected', [
    (64, 1, 0, [(1, 1)]), (64, 2, 0, [(1, 1), (1, 2), (2, 1)]), (31, 2, 0, [(1, 1), (1, 2)]), (33, 2, 0, [(1, 1), (1, 2)]),
    (64, 8, 0, [(1, 1), (1, 8), (4, 2), (2, 4)]), (256, 8, 0, [(1, 1), (1, 8), (8, 1), (4, 2), (2, 4)]),
    (64, 2, 1, [(1, 1), (2, 1)]), (64, 8, 2, [(4, 2)]), (64, 2, 3, [(1, 3)])])
def test_every_process_has_pictures_enough_and_all_cores_work(batch, cores, threads, expected):
    assert candidates(batch, cores, threads) == expected


def test_the_fastest_share_the_batch_and_the_log_says_so(tiny, measured):
    cfg, (line,) = with_workers(tiny(DATA__BATCH_SIZE=64, DATA__NUM_WORKERS=6), 0)
    assert (cfg.PROCESSES, cfg.THREADS, cfg.DATA.BATCH_SIZE, cfg.DATA.NUM_WORKERS) == (4, 1, 16, 2)
    assert line == ('on the CPU 4 processes of 1 thread, which share the batch: 4 processes of 1 thread 300 images/s, 2 processes '
                    'of 2 threads 200 images/s, 1 process of 4 threads 150 images/s, 1 process of 1 thread 100 images/s; -ngpus '
                    'and -threads choose others')


def test_they_are_measured_once_a_day_for_the_same_steps(tiny, measured, monkeypatch):
    cfg = tiny(DATA__BATCH_SIZE=64)
    for changes in ({}, {'SEED': 1}, {'DATA.BATCH_SIZE': 32}, {'DATA.IMAGE_SIZE': 64}):
        with_workers(changed(cfg, changes), 0)
    assert len(measured) == 3
    now = time.time()
    monkeypatch.setattr(workers.time, 'time', lambda: now + 25 * 3600)
    with_workers(cfg, 0)
    assert len(measured) == 4


def test_what_is_given_is_taken_as_it_is(tiny, measured):
    for given, processes in (({}, 3), ({'PROCESSES': 3}, 0)):
        cfg, lines = with_workers(tiny(DATA__BATCH_SIZE=64, **given), processes)
        assert (cfg.PROCESSES, cfg.THREADS, cfg.DATA.BATCH_SIZE) == (3, 1, 64) and not lines and not measured
    cfg, _ = with_workers(tiny(DATA__BATCH_SIZE=64, THREADS=2), 0)
    assert (cfg.PROCESSES, cfg.THREADS, cfg.DATA.BATCH_SIZE) == (2, 2, 32)


def test_where_it_cannot_be_measured_one_process_trains(tiny, measured, monkeypatch):
    def fail(cfg, choice):
        raise TemporaryError('process 1 was killed by SIGKILL')
    monkeypatch.setattr(workers, '_measured', fail)
    cfg, (line,) = with_workers(tiny(DATA__BATCH_SIZE=64), 0)
    assert (cfg.PROCESSES, cfg.THREADS) == (1, 1) and 'could not be tried (process 1 was killed by SIGKILL)' in line


def test_a_training_that_goes_on_has_as_many_as_before(tiny, tmp_path, measured, monkeypatch):
    monkeypatch.setattr(launch, 'supervise', lambda function, cfg, count, restarts, resumed: started.append((count, cfg)))
    started = []
    launch.start(tiny(TRAIN__NUM_EPOCHS=1, THREADS=1, DATA__BATCH_SIZE=4), 1, 0)
    run, = (tmp_path / 'output').iterdir()
    go_on = {'RESUME': str(run), 'TRAIN__NUM_EPOCHS': 2}
    cfg, lines = with_workers(tiny(**go_on, DATA__BATCH_SIZE=64), 0)
    assert (cfg.PROCESSES, cfg.DATA.BATCH_SIZE, lines, measured) == (1, 64, [], [])
    monkeypatch.setattr(workers, 'find_checkpoint', lambda cfg: type('', (), {'cfg': tiny(PROCESSES=2, THREADS=2)}))
    launch.start(tiny(**go_on, DATA__BATCH_SIZE=64), 0, 0)
    (count, cfg), = started
    assert (count, cfg.PROCESSES, cfg.THREADS, cfg.DATA.BATCH_SIZE) == (2, 2, 2, 32) and not measured


def test_one_process_is_timed_here(tiny):
    rows = take_turns(tiny(), [1, 2], Group(), (1, 0))
    assert [row[:2] for row in rows] == [[1, 1], [1, 2]] and all(row[2] > 0 for row in rows)


@pytest.mark.slow
def test_several_processes_are_timed_in_turns_with_one(tiny, monkeypatch, tmp_path):
    """python -m pytest -m slow tests/engine/test_workers.py"""
    monkeypatch.setattr(workers, 'cache_directory', lambda: tmp_path)
    monkeypatch.setattr(workers, 'usable_cores', lambda: 4)
    with_workers(tiny(DATA__BATCH_SIZE=64), 0)
    file, = (tmp_path / 'workers').iterdir()
    rates = json.loads(file.read_text())['rates']
    assert sorted(row[:2] for row in rates) == [[1, 1], [1, 4], [2, 2], [4, 1]] and all(row[2] > 0 for row in rates)
