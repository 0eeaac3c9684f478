"""The trainer at work for a fit."""
import signal
import time
from dataclasses import dataclass, replace

import pytest

from image_classification.errors import UserError
from image_classification.fit import training
from image_classification.fit.plan import Plan, fine_tuning_rate, make_plan, recipe, smaller


@dataclass
class Picture:
    label: int


def pictures(*counts):
    return [Picture(label) for label, count in enumerate(counts) for _ in range(count)]


def test_the_same_share_of_each_class_is_taken_the_same_for_a_seed():
    rows = training.evenly(pictures(60, 30, 10), 50, seed=3)
    assert [sum(row.label == label for row in rows) for label in range(3)] == [30, 15, 5]
    assert rows == training.evenly(pictures(60, 30, 10), 50, seed=3)


def test_pictures_of_rarer_classes_come_again_by_the_root_of_how_rare_they_are():
    rows = training.balanced(pictures(80, 20, 60), 3, seed=0)
    assert [sum(row.label == label for row in rows) for label in range(3)] == [80, 40, 69]
    assert len(training.balanced(pictures(80, 50), 2, seed=0)) == 130


def test_a_trainer_that_fails_gives_its_reason(tmp_path):
    (tmp_path / training.RECIPE).write_text('BASE: [mobilenet_v1_x0_25]\nTRAIN: {NUM_EPOCHS: 0}\n')
    with pytest.raises(UserError, match=r'the training has failed \(exit code \d+\): .*NUM_EPOCHS.*training.txt'):
        training.train(tmp_path, Plan(32, 8, 1, 8, 0.1), time.monotonic() + 60, print)


# Of a trainer, which Ctrl-C ends even where it is ignored, as in what a shell runs in the background.
STAND_IN = '''
import pathlib, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    pathlib.Path({ready!r}).touch()
    time.sleep(60)
except KeyboardInterrupt:
    exit(130)
'''


@pytest.fixture
def sleeping(tmp_path, monkeypatch):
    """sleeping(happens): what a training of a minute gives, where `happens` is called at the first look at its metrics."""
    started = []

    def begin(happens):
        (tmp_path / 'launcher.py').write_text(STAND_IN.format(ready=str(tmp_path / 'ready')))
        monkeypatch.setattr(training, 'LAUNCHER', tmp_path / 'launcher.py')
        monkeypatch.setattr(training, '_LOOK', 0.1)
        once = iter([happens])
        monkeypatch.setattr(training, 'read_metrics', lambda run: (next(once, lambda run: []) if (tmp_path / 'ready').exists()
                                                               else lambda run: [])(run))
        (tmp_path / 'runs' / 'one').mkdir(parents=True)
        (tmp_path / 'runs' / 'one' / 'metrics.jsonl').touch()
        real = training.subprocess.Popen
        monkeypatch.setattr(training.subprocess, 'Popen', lambda *args, **keys: started.append(real(*args, **keys)) or started[-1])
        said = []
        found = training.train(tmp_path, Plan(32, 8, 1, 8, 0.1), time.monotonic() + 60, said.append)
        return found, said
    yield begin
    assert started[0].returncode                                   # it did not sleep to its end


def test_sigterm_ends_a_fit_and_its_training(sleeping):
    with pytest.raises(SystemExit) as caught:
        sleeping(lambda run: signal.raise_signal(signal.SIGTERM) or [])
    assert caught.value.code == 143


def test_ctrl_c_ends_the_training_alone(sleeping):
    assert sleeping(lambda run: signal.raise_signal(signal.SIGINT) or []) == (
        training.Trained([], False), ['training    ended by Ctrl-C: going on with the best so far'])


def test_a_training_that_nobody_waits_for_any_more_is_ended(sleeping):
    def fails(run):
        raise BrokenPipeError
    with pytest.raises(BrokenPipeError):
        sleeping(fails)


def test_pictures_are_varied_as_far_as_they_mean_the_same():
    keys = [recipe(Plan(32, 8, 1, 8, 0.1, symmetries=names), True) for names in ((), ('mirrored',), ('upside down', 'turned'))]
    assert [(key['TRAIN.HFLIP'], key['TRAIN.VFLIP'], key['TRAIN.ROTATE']) for key in keys] == [(0, 0, 0), (0.5, 0, 0), (0, 0.5, 30)]


def test_the_rate_follows_what_published_features_do_not_know():
    assert [fine_tuning_rate(error, 20) for error in (0.0, 0.04, 0.33, 0.45, 1.0)] == [1e-4, 1e-4, 3e-4, 4e-4, 6e-4]
    assert [fine_tuning_rate(0.45, epochs) for epochs in (40, 20, 5, 1)] == [4e-4, 4e-4, 7e-4, 1e-3]


def test_where_much_must_be_learned_in_little_time_pictures_are_smaller():
    def sizes(error, seconds):
        plan = replace(make_plan(300, 400, 70, 224, 16, seconds), error=error)
        made = smaller(plan, 300, 400, 70)
        return made.size, made.epochs
    assert sizes(0.4, 0.05) == (160, 25) and sizes(0.4, 0.02) == (224, 30) and sizes(0.03, 0.05) == (224, 12)
