"""A training that cannot learn, or does not, says so in the log."""
import numpy as np
import paddle
import pytest

from image_classification.engine.doubts import Doubts, Tally, before_training, of_evaluation
from image_classification.engine.processes.distributed import Group
from image_classification.engine.report import Confusion
from image_classification.engine.schedule import learning_rate, peak_rate
from tests.engine.faults import in_processes
from tests.engine.test_freeze import begun  # noqa: F401  (fixture)
from tests.engine.test_trainer import train

NAMES = ['ant', 'bee', 'cat', 'dog']


def warnings(directory):
    lines = (directory / 'log.txt').read_text().splitlines()
    return [line.split(' warning: ')[1] for line in lines if ' warning: ' in line]


def evaluated(labels, predicted, kind=Tally):
    """(metrics, tally) of an evaluation."""
    tally = kind(4)
    tally.add(np.asarray(labels), np.asarray(predicted))
    return {'top1': 100 * np.mean(np.equal(labels, predicted)), 'images': len(labels)}, tally


# Before it begins

def test_a_warm_up_longer_than_the_run_says_which_rate_it_comes_to(tiny):
    cfg = tiny(TRAIN__WARMUP_EPOCHS=10, TRAIN__NUM_EPOCHS=5, TRAIN__LINEAR_SCALED_LR=40)
    rates = [learning_rate(step, 6, cfg.TRAIN) for step in range(30)]
    assert peak_rate(cfg.TRAIN, 6) == max(rates) < cfg.TRAIN.BASE_LR / 2
    line, = before_training(cfg, 6, 10**6, 0.1, False)
    assert f'rises to {max(rates) / 10:.3g}, not to 0.0001' in line and line.startswith('warning: the warm-up of 10 epochs')
    log = (train(tiny(TRAIN__WARMUP_EPOCHS=1, TRAIN__MAX_STEPS=3)) / 'log.txt').read_text()
    assert f'learning rate {peak_rate(tiny(TRAIN__WARMUP_EPOCHS=1, TRAIN__MAX_STEPS=3).TRAIN, 6):.3g} at its peak' in log
    assert 'warning: the warm-up of 1 epochs' in log


@pytest.mark.parametrize('options, steps_per_epoch, words', [
    ({'TRAIN__NUM_EPOCHS': 3}, 6, 'has 18 steps in all, of 6'), ({'TRAIN__MAX_STEPS': 1}, 600, 'has 1 step in all, of 600'),
    ({'TRAIN__FREEZE': ['stem', 'blocks.0']}, 600, 'keeps stem, blocks.0 at random values'),
    ({'TRAIN__LINEAR_SCALED_LR': 1024}, 600, 'multiplied by 0.125, which learns slowly from 500 pictures. -cfg mobilenet_v1'),
    ({'TRAIN__NUM_EPOCHS': 2}, 10, None)])
def test_a_configuration_that_makes_little_of_so_few_pictures_is_named(tiny, options, steps_per_epoch, words):
    scale = 0.125 if 'TRAIN__LINEAR_SCALED_LR' in options else 1.0
    lines = before_training(tiny(**options), steps_per_epoch, 500, scale, has_weights=False)
    assert len(lines) == bool(words) and all(words in line for line in lines)


def test_training_pictures_of_one_class_are_named(tiny):
    for labels, count in (([1] * 500, 1), ([1] * 499 + [0], 0)):
        lines = before_training(tiny(TRAIN__NUM_EPOCHS=9), 600, 500, 1.0, False, np.array(labels))
        assert len(lines) == count and all('all 500 training pictures are of one class' in line for line in lines)


def test_a_frozen_backbone_with_weights_is_no_reason_to_warn(tiny, begun):  # noqa: F811
    frozen = {'TRAIN__FREEZE': ['backbone'], 'TRAIN__MAX_STEPS': 1}
    assert not [line for line in warnings(train(tiny(**frozen, PRETRAINED=str(begun)))) if 'FREEZE' in line]
    assert [line for line in warnings(train(tiny(**frozen))) if 'keeps backbone at random values' in line]


# After an evaluation

@pytest.mark.parametrize('kind', [Tally, Confusion])
def test_one_class_predicted_for_all_is_named(kind):
    doubts = of_evaluation(*evaluated([0, 1, 2, 1], [1, 1, 1, 1], kind), NAMES)
    assert doubts == {'one class': "warning: 'bee' is predicted for all 4 images"}


def test_top1_at_chance_is_said_and_what_is_surely_better_is_not():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    drawn = rng.integers(0, 4, 400)
    doubts = of_evaluation(*evaluated(labels, drawn), NAMES)
    assert list(doubts) == ['chance'] and "always predicting 'ant', 25.00 %" in doubts['chance']
    better = np.where(np.arange(400) < 80, labels, drawn)          # 40 %
    assert not of_evaluation(*evaluated(labels, better), NAMES)


def test_pictures_of_one_class_say_nothing():
    assert not of_evaluation(*evaluated([1, 1, 1], [1, 1, 1]), NAMES)


def logits(predicted):
    return paddle.nn.functional.one_hot(paddle.to_tensor(predicted), 4)


@pytest.mark.parametrize('auxiliary', [False, True])
def test_far_more_right_training_pictures_than_test_pictures_are_said(auxiliary):
    doubts, labels = Doubts(NAMES, Group()), np.arange(40) % 4
    metrics, tally = evaluated(labels, np.where(np.arange(40) < 24, labels, 0))        # 70 %
    outputs = logits(labels)
    doubts.saw((outputs, 1 - outputs) if auxiliary else outputs, paddle.to_tensor(labels))
    line, = doubts.after(metrics, tally, last=False)
    assert line.startswith('warning: 100.0 % of the training pictures are right, but only 70.0 % of the test pictures')
    doubts.saw(logits(np.where(np.arange(40) < 36, labels, (labels + 1) % 4)), paddle.to_tensor(labels))   # 90 %: no wonder
    assert doubts.after(metrics, tally, last=False) == []


def test_a_warning_comes_again_only_at_the_end_or_after_it_was_gone():
    doubts, labels = Doubts(NAMES, Group()), np.arange(40) % 4
    bad, good = evaluated(labels, np.ones(40, int)), evaluated(labels, labels)
    said = [len(doubts.after(*evaluation, last=last)) for evaluation, last in
            ((bad, False), (bad, False), (good, False), (bad, False), (bad, True))]
    assert said == [1, 0, 0, 1, 1]


def test_a_training_that_does_not_learn_says_so_after_its_warm_up_in_the_main_process_alone(tiny):
    still = {'TRAIN__BASE_LR': 0.0, 'TRAIN__END_LR': 0.0, 'TRAIN__WARMUP_START_LR': 0.0, 'TRAIN__NUM_EPOCHS': 4}
    log = (train(tiny(**still, TRAIN__WARMUP_EPOCHS=2)) / 'log.txt').read_text()
    before, after = log.split('epoch 2/4 top-1')
    assert 'warning' not in before and any(words in after for words in ('predicted for all 10', 'not clearly better'))
    lines = warnings(in_processes(2, tiny(**still, VALIDATE_FREQ=4)))
    assert len([line for line in lines if 'predicted for all 10' in line or 'not clearly better' in line]) == 1


def test_a_training_that_learns_says_nothing(tiny):
    assert warnings(train(tiny(TRAIN__NUM_EPOCHS=12, DATA__BATCH_SIZE=8, TRAIN__BASE_LR=0.03, TRAIN__OPTIMIZER__NAME='SGD',
                               MODEL__DROPOUT=0.0, VALIDATE_FREQ=6, TRAIN__PRECISE_BN=True))) == []
