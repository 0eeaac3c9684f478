"""What a training does when it is killed, stopped, given a full disk, or images that break it. One process; for several see
processes/test_supervisor.py."""
import errno
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import time

import numpy as np
import pytest

import image_classification as ic
from image_classification.checkpoint import read_checkpoint
from image_classification.engine import launch, trainer
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.engine.run_directory import find_checkpoint
from image_classification.engine.run_log import RunLog
from image_classification.errors import TemporaryError
from tests.engine.faults import begin, begin_fresh, end, wait_for
from tests.engine.test_trainer import assert_same_file, message, metrics, train

FULL = {'TRAIN__MODEL_EMA': True, 'TRAIN__ACCUM_ITER': 2, 'SAVE_STEPS': 1, 'REPORT_FREQ': 2}


@pytest.fixture(scope='module')
def whole(tiny_in, tmp_path_factory):
    """The directory of a training that nothing has stopped."""
    return train(tiny_in(tmp_path_factory.mktemp('whole'), **FULL))


def flip(path, place):
    """Invert one byte of a file, at a share of its length."""
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 255
    path.write_bytes(data)


# Killed

def kill_and_resume(tiny, whole, tmp_path, kills, workers):
    draw, cfg, step = random.Random(kills), tiny(**FULL, RESUME='auto', DATA__NUM_WORKERS=workers), 0
    finished = 0
    for n in range(kills):
        # A run that was complete before the signal came starts from nothing: that all of them are is no test.
        finished += end(begin(cfg, tmp_path / 'log'), after=draw.uniform(0.0, 1.2)) == 0
        found = find_checkpoint(cfg)
        assert not step or found.progress.step >= step, f'kill {n} has lost what was saved'
        step = found.progress.step if found else 0
        if found and step == 6:
            shutil.rmtree(found.path.parent)
            step = 0
    assert finished < kills
    assert end(begin(cfg, tmp_path / 'log'), number=0) == 0, (tmp_path / 'log').read_text()
    resumed = find_checkpoint(cfg).path.parent
    assert_same_file(whole / 'last.safetensors', resumed / 'last.safetensors')
    assert metrics(whole, 'train') == metrics(resumed, 'train') and metrics(whole, 'eval') == metrics(resumed, 'eval')
    assert not list(resumed.glob('.*.tmp'))


def test_killed_at_random_moments_nothing_saved_is_lost_and_the_end_is_bit_for_bit_the_same(tiny, whole, tmp_path):
    kill_and_resume(tiny, whole, tmp_path, 4, 0)


def test_the_processes_that_load_images_end_with_a_killed_training(tiny, tmp_path):
    pid = begin(tiny(DATA__NUM_WORKERS=2, TRAIN__NUM_EPOCHS=500, VALIDATE_FREQ=500), tmp_path / 'log')
    wait_for(lambda: (tmp_path / 'log').exists() and 'step 2' in (tmp_path / 'log').read_text())
    with open(f'/proc/{pid}/task/{pid}/children') as file:
        workers = file.read().split()
    assert end(pid) == -signal.SIGKILL
    wait_for(lambda: not any(os.path.exists(f'/proc/{worker}') for worker in workers), 10)


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_killed_thirty_times(tiny, whole, tmp_path, workers):
    """python -m pytest -m slow tests/engine/test_faults.py"""
    kill_and_resume(tiny, whole, tmp_path, 30, workers)


def test_there_is_a_complete_checkpoint_at_every_moment_of_saving(tiny, tmp_path, monkeypatch):
    directory = train(tiny(TRAIN__MAX_STEPS=2))
    moments = []

    def spy(name):
        real = getattr(os, name)

        def call(source, target, *args):
            for _ in (0, 1):
                moments.append(read_checkpoint(directory / 'last.safetensors').progress.step)
                if len(moments) % 2:
                    real(source, target, *args)
        monkeypatch.setattr(os, name, call)
    for name in ('link', 'replace'):
        spy(name)
    train(tiny(TRAIN__MAX_STEPS=3, RESUME='auto', EXPORT=False))
    assert len(moments) >= 6 and moments == sorted(moments) and {2, 3} == set(moments)


# Damaged

@pytest.mark.parametrize('place', [0.0, 0.02, 0.5, 0.999])
def test_a_flipped_byte_is_found_wherever_it_is(whole, tmp_path, place):
    path = tmp_path / 'last.safetensors'
    shutil.copy(whole / path.name, path)
    flip(path, place)
    with pytest.raises(ic.UserError, match=r'last\.safetensors'):
        read_checkpoint(path)


@pytest.mark.parametrize('damage', [lambda path: flip(path, 0.7), lambda path: os.truncate(path, 1000), os.unlink])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tiny, tmp_path, whole, damage):
    directory = train(tiny(**FULL, TRAIN__MAX_STEPS=4))
    damage(directory / 'last.safetensors')
    train(tiny(**FULL, RESUME='auto'))
    log = (directory / 'log.txt').read_text()
    assert 'last-1.safetensors after 3 steps' in log
    if damage is not os.unlink:
        assert 'passed over' in log and (directory / 'damaged-last.safetensors').is_file()
    assert_same_file(whole / 'last.safetensors', directory / 'last.safetensors')


def test_where_every_checkpoint_is_damaged_nothing_starts_over_silently(tiny):
    directory = train(tiny(**FULL, TRAIN__MAX_STEPS=4))
    for path in directory.glob('last*.safetensors'):
        flip(path, 0.9)
    assert 'none of the 2 checkpoints can be read' in message(tiny(**FULL, RESUME='auto'))
    assert len(list(directory.parent.iterdir())) == 1


def test_as_many_checkpoints_stay_as_are_wanted(tiny):
    directory = train(tiny(SAVE_STEPS=1, KEEP_CHECKPOINTS=3, TRAIN__MAX_STEPS=4))
    steps = [read_checkpoint(directory / name).progress.step for name in
             ('last.safetensors', 'last-1.safetensors', 'last-2.safetensors')]
    assert steps == [4, 3, 2] and not (directory / 'last-3.safetensors').exists()
    assert not (train(tiny(SAVE_STEPS=1, KEEP_CHECKPOINTS=1, TRAIN__MAX_STEPS=3)) / 'last-1.safetensors').exists()


def test_a_directory_of_a_run_means_its_newest_checkpoint(tiny):
    directory = train(tiny(TRAIN__MAX_STEPS=2))
    train(tiny(TRAIN__MAX_STEPS=3, RESUME=str(directory)))
    assert read_checkpoint(directory / 'last.safetensors').progress.step == 3
    assert 'no checkpoint in' in message(tiny(RESUME=str(directory.parent)))


# No space

def test_a_full_disk_ends_the_run_with_a_message_and_leaves_the_last_good_checkpoint(tiny, tmp_path):
    directory = train(tiny(TRAIN__MAX_STEPS=2))
    before = (directory / 'last.safetensors').read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))   # as a disk with so much room
    try:
        text = message(tiny(RESUME='auto'))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 'cannot write' in text and 'Free some space' in text
    assert (directory / 'last.safetensors').read_bytes() == before
    assert not list(directory.glob('.*.tmp'))


def test_a_log_that_cannot_be_written_is_one_message_too(tiny, tmp_path):
    log = RunLog(tmp_path)
    (tmp_path / 'log.txt').mkdir()
    with pytest.raises(ic.UserError, match='cannot write .*log.txt'):
        log.line('a line')


# Asked to stop

@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_saves_the_step_at_hand_and_the_resumed_run_is_the_same(tiny, whole, monkeypatch, number, code):
    """In the process itself; the next test's come from outside."""
    cfg, real = tiny(**{**FULL, 'SAVE_STEPS': 0}, RESUME='auto'), trainer.Trainer.backward

    def backward(self, images, labels, position, last):
        if position == [0, 2]:                                     # within the second step
            signal.raise_signal(number)
        return real(self, images, labels, position, last)
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(trainer.Trainer, 'backward', backward)
        train(cfg)
    stopped = find_checkpoint(cfg)
    resumed = stopped.path.parent
    assert caught.value.code == code and stopped.progress.step == 2
    assert 'stopped after step 2;' in (resumed / 'log.txt').read_text()
    train(cfg)
    assert_same_file(whole / 'last.safetensors', resumed / 'last.safetensors')
    for kind in ('train', 'eval'):
        assert metrics(whole, kind) == metrics(resumed, kind)


def test_a_closed_terminal_below_nohup_stops_nothing(tiny, monkeypatch):
    before, real = signal.signal(signal.SIGHUP, signal.SIG_IGN), trainer.Trainer.end_step

    def end_step(self, *args):
        signal.raise_signal(signal.SIGHUP)
        real(self, *args)
    monkeypatch.setattr(trainer.Trainer, 'end_step', end_step)
    try:
        assert 'top-1' in (train(tiny(TRAIN__NUM_EPOCHS=1)) / 'log.txt').read_text()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_during_the_last_evaluation_is_heeded_before_the_export(tiny, monkeypatch):
    def evaluate(*_):
        signal.raise_signal(signal.SIGTERM)
        return {'top1': 50.0, 'top5': 100.0, 'loss': 1.0, 'images': 10}
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(trainer, 'evaluate', evaluate)
        train(tiny(TRAIN__NUM_EPOCHS=1))
    stopped = find_checkpoint(tiny(TRAIN__NUM_EPOCHS=1, RESUME='auto'))
    log = stopped.path.with_name('log.txt')
    assert caught.value.code == 143 and stopped.progress.epoch == 1 and log.read_text().endswith('-resume auto goes on\n')
    train(tiny(TRAIN__NUM_EPOCHS=1, RESUME='auto'))
    assert 'top-1       50.00 %' in log.read_text()


class Head:
    """A standard output whose reader has enough after some lines."""

    def __init__(self, lines):
        self.left = lines

    def write(self, text):
        if not self.left:
            raise BrokenPipeError
        self.left -= text == '\n'

    def flush(self):
        pass


@pytest.mark.parametrize('lines, step', [(0, 1), (5, 3), (9, 6)])
def test_a_reader_who_has_seen_enough_ends_a_training_as_a_signal_does(tiny, monkeypatch, lines, step):
    """In the middle of its first lines, of its steps, and of its last ones."""
    monkeypatch.setattr(sys, 'stdout', Head(lines))
    with pytest.raises(SystemExit) as caught:
        train(tiny(TRAIN__NUM_EPOCHS=1))
    found = find_checkpoint(tiny(RESUME='auto'))
    assert caught.value.code == 141 and found.progress.step == step
    assert 'learning rate' in found.path.with_name('log.txt').read_text()


def test_a_terminal_that_is_closed_does_not_stop_a_training_that_was_not_asked(tiny, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(errno.EIO, 'Input/output error')
    monkeypatch.setattr(sys, 'stdout', Gone())
    directory = train(tiny(TRAIN__NUM_EPOCHS=1))
    assert 'classify ' in (directory / 'log.txt').read_text()


def test_an_evaluation_that_nobody_reads_ends_quietly(tiny, monkeypatch):
    weights = train(tiny(TRAIN__MAX_STEPS=1)) / 'best.safetensors'
    monkeypatch.setattr(sys, 'stdout', Head(0))
    with pytest.raises(SystemExit) as caught:
        train(tiny(EVAL=True, PRETRAINED=str(weights)))
    assert caught.value.code == 141


def test_memory_that_runs_out_is_one_line(tiny, monkeypatch, capsys):
    def backward(*_, **__):
        raise MemoryError('\nC++ Traceback\nResourceExhaustedError: Fail to alloc memory of 2147483648 size, error code is 12.\n'
                          '  [Hint: Expected error == 0, but received error:12 != 0:0.]')
    monkeypatch.setattr(trainer.Trainer, 'backward', backward)
    with pytest.raises(TemporaryError, match=r'^memory ran out \(2.00 GiB more were wanted\)'):
        launch.work(tiny(), ChildMessages())
    assert capsys.readouterr().err == ''


def test_a_second_signal_ends_at_once(tiny, tmp_path):
    sleeps = 'import time; trainer.evaluate = lambda *args: time.sleep(60)'
    pid = begin_fresh(tiny(VALIDATE_FREQ=1), tmp_path / 'log', sleeps)
    wait_for(lambda: 'step 6' in (tmp_path / 'log').read_text() if (tmp_path / 'log').exists() else False)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.1)
    os.kill(pid, signal.SIGTERM)                                   # the same request once more, as from a launcher
    time.sleep(1.2)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    begun = time.monotonic()
    assert end(pid, signal.SIGTERM) == 143 and time.monotonic() - begun < 5


# Not finite

def spoil(monkeypatch, steps, value, where):
    """The loss, or the gradient alone, of these steps (counted from 1, one batch each) becomes `value`."""
    real, seen = trainer.Trainer.backward, []

    def backward(self, *args, **kwargs):
        loss = real(self, *args, **kwargs)
        seen.append(1)
        if len(seen) in steps:
            if where == 'loss':
                return loss * value
            self.network.model.classifier.bias.grad.set_value(np.full(2, value, np.float32))
        return loss
    monkeypatch.setattr(trainer.Trainer, 'backward', backward)


@pytest.mark.parametrize('where, value', [('loss', float('inf')), ('loss', float('nan')), ('gradient', float('nan'))])
def test_a_step_that_is_not_finite_changes_nothing_and_its_images_are_written_down(tiny, monkeypatch, where, value):
    options = {'TRAIN__MODEL_EMA': True, 'TRAIN__OPTIMIZER__NAME': 'SGD', 'EXPORT': False}
    before = train(tiny(**options, TRAIN__MAX_STEPS=2))
    spoil(monkeypatch, {3}, value, where)
    after = train(tiny(**options, TRAIN__MAX_STEPS=3))
    assert_same_file(before / 'last.safetensors', after / 'last.safetensors')
    row, = map(json.loads, (after / 'bad_batches.jsonl').read_text().splitlines())
    assert row['step'] == 3 and row['finite'] is False and len(row['files']) == 4
    assert all(os.path.isfile(path) for path in row['files'])
    assert 'step 3 skipped' in (after / 'log.txt').read_text()
    assert np.isfinite([row['loss'] for row in metrics(after, 'train')]).all()


def test_an_image_that_spoils_the_running_statistics_leaves_no_trace_in_them(tiny, monkeypatch):
    real = trainer.Trainer.backward

    def backward(self, images, labels, position, last):
        return real(self, images * float('nan') if position == [0, 1] else images, labels, position, last)
    monkeypatch.setattr(trainer.Trainer, 'backward', backward)
    directory = train(tiny(TRAIN__NUM_EPOCHS=1))
    for name, value in read_checkpoint(directory / 'last.safetensors').model.items():
        assert np.isfinite(value).all(), name


def test_a_loss_that_stays_not_finite_ends_the_training(tiny):
    text = message(tiny(TRAIN__BASE_LR=1e30, TRAIN__OPTIMIZER__NAME='SGD', TRAIN__MAX_BAD_STEPS=3))
    assert 'the loss is' in text and '3 steps in a row' in text and 'bad_batches.jsonl' in text


def test_single_bad_steps_do_not_end_the_training(tiny, monkeypatch):
    spoil(monkeypatch, {1, 3, 5, 7}, float('nan'), 'loss')
    directory = train(tiny(TRAIN__MAX_BAD_STEPS=2))
    assert '(1 in a row, 4 in all)' in (directory / 'log.txt').read_text()


# Hanging

def test_a_training_that_makes_no_progress_ends_with_the_reason_on_its_last_line(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, 'evaluate', lambda *args: time.sleep(60))
    pid = begin(tiny(WATCHDOG_SECONDS=2.0), tmp_path / 'log', watched=True)
    assert end(pid, number=0) == 75
    last = (tmp_path / 'log').read_text().splitlines()[-1]
    assert last.startswith('error: process 0 has made no progress for 2 s') and 'step 6' in last
    directory, = (tmp_path / 'output').iterdir()
    assert last in (directory / 'log.txt').read_text()


@pytest.mark.parametrize('number, limit, words', [(signal.SIGKILL, 30.0, 'was killed'),    # Paddle looks every 5 s
                                                  (signal.SIGSTOP, 8.0, 'loading images')])
def test_a_loader_process_that_is_killed_or_stopped_ends_the_training(tiny, tmp_path, number, limit, words):
    # Epochs of many steps: each has a worker of its own, and that of an epoch that is ending is missed by nobody.
    pid = begin(tiny(DATA__NUM_WORKERS=1, DATA__BATCH_SIZE=2, TRAIN__NUM_EPOCHS=500, VALIDATE_FREQ=500, WATCHDOG_SECONDS=limit),
                tmp_path / 'log', watched=True)
    children = f'/proc/{pid}/task/{pid}/children'

    def has_worker():
        with open(children) as file:
            return 'step 2' in (tmp_path / 'log').read_text() and file.read().split()
    wait_for(lambda: (tmp_path / 'log').exists() and has_worker())
    with open(children) as file:
        worker = int(file.read().split()[0])
    os.kill(worker, number)
    begun = time.monotonic()
    assert end(pid, number=0) == 75 and time.monotonic() - begun < 20
    assert words in (tmp_path / 'log').read_text().splitlines()[-1]
    wait_for(lambda: not os.path.exists(f'/proc/{worker}'), 10)
