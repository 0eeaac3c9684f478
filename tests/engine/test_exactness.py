"""The same numbers, however the work is divided: into batches, loader processes, training processes and stops.

Where batches are divided, batch norm does not normalize by them.
"""
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from safetensors.numpy import load_file

from image_classification.datasets import get_dataloader, get_dataset
from image_classification.engine.processes.distributed import Group
from image_classification.engine.evaluate import evaluate
from image_classification.engine.report import Confusion
from tests.engine.faults import in_processes
from tests.engine.test_trainer import assert_same_file, metrics, train

# 20 steps of 8 of the 24 images; each image is transformed by chance, but by its number and epoch alone.
TWENTY = {'TRAIN__MAX_STEPS': 20, 'TRAIN__NUM_EPOCHS': 7, 'TRAIN__BASE_LR': 0.01, 'VALIDATE_FREQ': 7, 'REPORT_FREQ': 1,
          'TRAIN__RAND_AUGMENT': True, 'TRAIN__OPTIMIZER__NAME': 'SGD', 'TRAIN__MODEL_EMA': True, 'TRAIN__GRAD_CLIP': 1.0}
EVERYTHING = {'TRAIN__RAND_AUGMENT': True, 'TRAIN__RANDOM_ERASE_PROB': 0.5, 'TRAIN__RANDOM_ERASE_COUNT': 2,
              'TRAIN__MIXUP_ALPHA': 0.5, 'TRAIN__CUTMIX_ALPHA': 1.0, 'TRAIN__MIXUP_MODE': 'elem', 'TRAIN__MODEL_EMA': True}


@pytest.fixture
def without_batch_norm(tiny, monkeypatch):
    """without_batch_norm(**overrides): `tiny` for a network whose batch norms normalize as in evaluation."""
    def forward(self, x):
        return F.batch_norm(x, self._mean, self._variance, self.weight, self.bias, training=False)
    monkeypatch.setattr(paddle.nn.BatchNorm2D, 'forward', forward)
    return lambda **overrides: tiny(**{**TWENTY, 'MODEL__DROPOUT': 0.0, **overrides})


def assert_close(a, b, limit):
    """All weights, their averages and the optimizer's state are equal to `limit`."""
    a, b = (load_file(directory / 'last.safetensors') for directory in (a, b))
    assert a.keys() == {name for name in b if not name.startswith('process.')}     # running statistics of the second one
    differences = {name: np.abs(a[name].astype(float) - b[name]).max() for name in a if a[name].size}
    worst = max(differences, key=differences.get)
    assert differences[worst] < limit, worst


@pytest.mark.parametrize('optimizer', ['SGD', pytest.param('AdamW', marks=pytest.mark.slow)])
def test_accumulating_two_batches_is_one_of_twice_the_size_after_20_steps(without_batch_norm, optimizer):
    options = {'TRAIN__OPTIMIZER__NAME': optimizer, 'TRAIN__BASE_LR': 0.01 if optimizer == 'SGD' else 1e-4}
    two = train(without_batch_norm(**options, DATA__BATCH_SIZE=4, TRAIN__ACCUM_ITER=2))
    one = train(without_batch_norm(**options, DATA__BATCH_SIZE=8))
    assert metrics(one, 'train')[-1]['step'] == 20
    assert_close(one, two, 1e-5)


def test_two_processes_are_one_with_twice_the_batch_after_20_steps(without_batch_norm):
    two = in_processes(2, without_batch_norm(DATA__BATCH_SIZE=4))
    one = train(without_batch_norm(DATA__BATCH_SIZE=8))
    losses = [[row['loss'] for row in metrics(directory, 'train')] for directory in (one, two)]
    assert len(losses[0]) == 20
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)
    assert_close(one, two, 1e-5)


def test_loader_processes_change_nothing_under_policies_mixup_and_erasing(tiny):
    runs = [train(tiny(**EVERYTHING, DATA__NUM_WORKERS=workers, TRAIN__NUM_EPOCHS=1)) for workers in (0, 1, 3)]
    for other in runs[1:]:
        assert_same_file(runs[0] / 'last.safetensors', other / 'last.safetensors')
        assert metrics(runs[0], 'train') == metrics(other, 'train')


# Evaluation

class ByColour(paddle.nn.Layer):
    """(B, 3, H, W) -> logits (B, 2), of which some are wrong: by blue less red of one pixel."""

    def forward(self, images):
        difference = images[:, 2, 3, 3] - images[:, 0, 3, 3] - 2.1
        return paddle.stack([-difference, difference], 1)


def counts(cfg, world_size):
    """The confusion of an evaluation and its number of images, summed over processes that run one after the other."""
    total, images = np.zeros((2, 2), int), 0
    for rank in range(world_size):
        confusion = Confusion(2)
        loader = get_dataloader(cfg, get_dataset(cfg, False), False, rank, world_size)
        for pictures, labels in loader.epoch(0):
            confusion.add(labels.numpy(), ByColour()(pictures).argmax(1).numpy())
            images += len(labels)
        total += confusion.counts
    return total.tolist(), images


@pytest.mark.parametrize('world_size, workers', [(1, 3), (2, 0), (3, 1)])
def test_each_class_has_the_same_counts_for_any_batch_size_workers_and_processes(tiny, world_size, workers):
    expected = counts(tiny(DATA__BATCH_SIZE=1), 1)
    assert 0 < np.trace(expected[0]) < expected[1] == 10           # some are right and some are wrong
    for size in (1, 7, 32):
        cfg = tiny(DATA__BATCH_SIZE_EVAL=size, DATA__NUM_WORKERS=workers)
        assert counts(cfg, world_size) == expected


@pytest.mark.parametrize('workers', [0, 2])
def test_a_process_without_images_evaluates_none(tiny, workers):
    dataset = get_dataset(tiny(), False)
    dataset.labels = dataset.labels[:2]
    loader = get_dataloader(tiny(DATA__NUM_WORKERS=workers), dataset, False, rank=2, world_size=3)
    assert list(loader.epoch(0)) == [] and len(loader) == 0


def test_evaluation_by_batches_is_that_of_all_images(tiny):
    results = [evaluate(ByColour(), get_dataloader(cfg, get_dataset(cfg, False), False), Group())
               for cfg in (tiny(DATA__BATCH_SIZE_EVAL=size) for size in (1, 7, 32))]
    assert results[0]['top1'] == results[1]['top1'] == results[2]['top1']
    assert [result['images'] for result in results] == [10, 10, 10]


def test_three_processes_evaluate_as_one_does(tiny):
    weights = train(tiny(TRAIN__MAX_STEPS=3)) / 'last.safetensors'
    options = {'EVAL': True, 'PER_CLASS': True, 'PRETRAINED': str(weights), 'DATA__BATCH_SIZE_EVAL': 7}
    one, three = train(tiny(**options)), in_processes(3, tiny(**options))
    assert (one / 'per_class.csv').read_bytes() == (three / 'per_class.csv').read_bytes()
    a, b = (metrics(directory, 'eval')[0] for directory in (one, three))
    assert (a['top1'], a['top5'], a['images']) == (b['top1'], b['top5'], b['images'])
    assert a['images'] == 10 and abs(a['loss'] - b['loss']) < 1e-6


def test_two_processes_resumed_in_the_middle_of_an_epoch_are_bit_for_bit_those_that_were_not_stopped(tiny):
    options = {**EVERYTHING, 'TRAIN__PRECISE_BN': True, 'REPORT_FREQ': 1, 'DATA__NUM_WORKERS': 1, 'SAVE_STEPS': 2,
               'KEEP_CHECKPOINTS': 4}
    whole = in_processes(2, tiny(**options))
    after_2_of_3_steps = whole / 'early.safetensors'               # of another name, so that the run is another one
    after_2_of_3_steps.write_bytes((whole / 'last-3.safetensors').read_bytes())    # those behind it are of steps 3, 4 and 6
    resumed = in_processes(2, tiny(**options, RESUME=str(after_2_of_3_steps)))
    assert_same_file(whole / 'last.safetensors', resumed / 'last.safetensors')
    assert metrics(whole, 'train')[2:] == metrics(resumed, 'train') and len(metrics(resumed, 'train')) == 4
    assert metrics(whole, 'eval') == metrics(resumed, 'eval')


@pytest.mark.slow
def test_two_processes_stopped_by_a_limit_of_steps_go_on_bit_for_bit(tiny):
    whole = in_processes(2, tiny(**EVERYTHING))
    stopped = in_processes(2, tiny(**EVERYTHING, TRAIN__MAX_STEPS=2))                 # of 3 in an epoch
    resumed = in_processes(2, tiny(**EVERYTHING, RESUME=str(stopped / 'last.safetensors')))
    assert resumed is None                                         # the same run goes on
    assert_same_file(whole / 'last.safetensors', stopped / 'last.safetensors')
