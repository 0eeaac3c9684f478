"""Which evaluations' checkpoints stay, and when a training ends because it no longer gets better."""
import os
import shutil

import pytest

from image_classification.engine import trainer
from image_classification.engine.best import BestCheckpoints, best_names, repair_best
from image_classification.checkpoint import read_checkpoint
from image_classification.errors import UserError
from tests.engine.faults import in_processes
from tests.engine.test_trainer import metrics, train


@pytest.fixture
def accuracies(monkeypatch):
    """accuracies(a, b, ...): what the evaluations of the following training give; the last one is repeated."""
    def give(*values):
        left = list(values)

        def evaluate(*args):
            top1 = left.pop(0) if len(left) > 1 else left[0]
            return {'top1': top1, 'top5': 100.0, 'loss': 1.0, 'images': 10}
        monkeypatch.setattr(trainer, 'evaluate', evaluate)
    return give


def kept(directory, count):
    """[(epoch, top-1)] in the files of the best checkpoints."""
    records = [read_checkpoint(directory / name).progress.evaluated for name in best_names(count)
               if (directory / name).exists()]
    return [(record['epoch'], record['top1']) for record in records]


def add(best, files, step, top1):
    """One evaluation; `files` {name: step} are moved as checkpoints would be."""
    def save(name, earlier):
        for source, target in reversed(list(zip([name, *earlier], earlier))):
            files[target] = files[source]
        files[name] = step
    best.add({'step': step, 'top1': top1}, save)


@pytest.mark.parametrize('values, kept_steps', [
    ([10, 20, 30, 40], [4, 3, 2]), ([40, 30, 20, 10], [1, 2, 3]), ([10, 30, 20, 25], [2, 4, 3]), ([10, 10, 10, 10], [1, 2, 3]),
    ([20, 10], [1, 2])])
def test_the_files_are_the_best_evaluations_in_order_and_of_equal_ones_the_earlier(values, kept_steps):
    best, files = BestCheckpoints(3), {}
    for step, top1 in enumerate(values, 1):
        add(best, files, step, top1)
    assert [files[name] for name in best_names(len(kept_steps))] == kept_steps == [r['step'] for r in best.records]


def test_a_step_that_comes_once_more_replaces_its_own_file():
    best, files = BestCheckpoints(3), {}
    for step, top1 in ((1, 10), (2, 30), (3, 20), (3, 20), (2, 30)):
        add(best, files, step, top1)
    assert [files[name] for name in best_names(3)] == [2, 3, 1]


def test_a_training_keeps_as_many_as_are_wanted(tiny, accuracies):
    accuracies(30.0, 60.0, 40.0, 50.0)
    directory = train(tiny(KEEP_BEST=2, TRAIN__NUM_EPOCHS=4))
    assert kept(directory, 3) == [(2, 60.0), (4, 50.0)]
    assert 'top-1       60.00 % on 10 images (epoch 2)' in (directory / 'log.txt').read_text()
    assert read_checkpoint(directory / 'last.safetensors').progress.best['epoch'] == 2


@pytest.mark.parametrize('state', [('A', 'B', 'B'), ('A', 'A', 'B')])
def test_a_kill_while_the_files_move_on_leaves_no_checkpoint_twice(tiny, accuracies, state):
    accuracies(60.0, 50.0)
    directory = train(tiny(KEEP_BEST=2))
    for name, content in zip('AB', best_names(2)):
        shutil.move(directory / content, directory / name)
    for name, content in zip(best_names(3), state):
        shutil.copy(directory / content, directory / name)
    records, damaged = repair_best(directory, 3)
    assert [record['top1'] for record in records] == [60.0, 50.0] and not damaged
    assert kept(directory, 3) == [(1, 60.0), (2, 50.0)] and not (directory / 'best-3.safetensors').exists()


def test_after_a_resume_the_best_of_before_still_counts_and_a_damaged_one_does_not(tiny, accuracies):
    accuracies(60.0, 50.0)
    directory = train(tiny(KEEP_BEST=2))
    accuracies(55.0)
    train(tiny(KEEP_BEST=2, TRAIN__NUM_EPOCHS=3, RESUME='auto'))
    assert kept(directory, 2) == [(1, 60.0), (3, 55.0)]
    os.truncate(directory / 'best.safetensors', 1000)
    train(tiny(KEEP_BEST=2, TRAIN__NUM_EPOCHS=4, RESUME='auto'))
    assert kept(directory, 2) == [(3, 55.0), (4, 55.0)] and (directory / 'damaged-best.safetensors').exists()


def test_evaluations_during_the_warm_up_do_not_end_it(tiny, accuracies):
    accuracies(50.0, 40.0, 40.0, 60.0)
    directory = train(tiny(TRAIN__EARLY_STOP=1, TRAIN__NUM_EPOCHS=9, TRAIN__WARMUP_EPOCHS=3))
    assert [row['epoch'] for row in metrics(directory, 'eval')] == [1, 2, 3]



def test_training_ends_after_so_many_evaluations_without_a_better_one(tiny, accuracies):
    accuracies(30.0, 60.0, 60.0, 50.0, 40.0)
    directory = train(tiny(TRAIN__EARLY_STOP=2, TRAIN__NUM_EPOCHS=9))
    assert [row['epoch'] for row in metrics(directory, 'eval')] == [1, 2, 3, 4]
    assert 'stopped early: 2 evaluations' in (directory / 'log.txt').read_text()
    assert read_checkpoint(directory / 'last.safetensors').progress.epoch == 4


def test_a_resumed_training_goes_on_counting_and_one_that_has_ended_stays_ended(tiny, accuracies):
    accuracies(60.0, 50.0)
    directory = train(tiny(TRAIN__EARLY_STOP=3, TRAIN__NUM_EPOCHS=3))
    accuracies(50.0)
    for _ in (1, 2):
        train(tiny(TRAIN__EARLY_STOP=3, TRAIN__NUM_EPOCHS=9, RESUME='auto'))
        assert [row['epoch'] for row in metrics(directory, 'eval')] == [1, 2, 3, 4]
    train(tiny(TRAIN__EARLY_STOP=4, TRAIN__NUM_EPOCHS=9, RESUME='auto'))
    assert len(metrics(directory, 'eval')) == 5


def test_two_processes_end_together(tiny, accuracies):
    accuracies(50.0)
    run = in_processes(2, tiny(TRAIN__NUM_EPOCHS=5, TRAIN__EARLY_STOP=2))
    assert 'stopped early' in (run / 'log.txt').read_text()
    assert [row['epoch'] for row in metrics(run, 'eval')] == [1, 2, 3]


@pytest.mark.parametrize('options, words', [({'KEEP_BEST': 0}, 'KEEP_BEST is 0'),
                                            ({'TRAIN__EARLY_STOP': -1}, 'EARLY_STOP is -1')])
def test_numbers_out_of_range_are_refused(tiny, options, words):
    with pytest.raises(UserError, match=words):
        tiny(**options)
