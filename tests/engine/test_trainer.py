import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file

import image_classification as ic
from image_classification.datasets import get_dataloader, get_dataset
from image_classification.checkpoint import load_network, read_checkpoint
from image_classification.engine import trainer
from image_classification.engine.best import best_names
from image_classification.engine.processes.distributed import Group
from image_classification.engine.evaluate import evaluate
from image_classification.engine.schedule import learning_rate
from image_classification.engine.trainer import train_or_evaluate


def train(cfg):
    """Run a training; returns its directory."""
    before = set(Path(cfg.SAVE).glob('*'))
    train_or_evaluate(cfg, Group())
    return next(iter(set(Path(cfg.SAVE).glob('*')) - before), None)


def metrics(directory, kind):
    rows = [json.loads(line) for line in (directory / 'metrics.jsonl').read_text().splitlines()]
    timed = 'images_per_second', 'waiting'
    return [{key: value for key, value in row.items() if key not in timed} for row in rows if row['kind'] == kind]


def assert_same_file(a, b):
    a, b = load_file(a), load_file(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def message(cfg):
    with pytest.raises(ic.UserError) as caught:
        train_or_evaluate(cfg, Group())
    return str(caught.value)


def test_a_run_leaves_checkpoints_configuration_log_and_metrics(tiny):
    directory = train(tiny())
    assert {path.name for path in directory.iterdir()} >= {'last.safetensors', 'best.safetensors', 'config.yaml', 'log.txt',
                                                          'metrics.jsonl', 'sample.png'}
    assert ic.get_config(directory / 'config.yaml').MODEL.NUM_CLASSES == 2
    assert [row['step'] for row in metrics(directory, 'train')] == [2, 4, 6, 8, 10, 12]
    assert [row['images'] for row in metrics(directory, 'eval')] == [10, 10]
    assert 'learning rate' in (directory / 'log.txt').read_text()


def test_it_learns(tiny):
    directory = train(tiny(TRAIN__NUM_EPOCHS=12, DATA__BATCH_SIZE=8, TRAIN__BASE_LR=0.03, TRAIN__OPTIMIZER__NAME='SGD',
                           MODEL__DROPOUT=0.0, VALIDATE_FREQ=2))
    assert max(row['top1'] for row in metrics(directory, 'eval')) >= 90


@pytest.mark.parametrize('options', [{}, {'TRAIN__ACCUM_ITER': 2, 'TRAIN__MODEL_EMA': True, 'TRAIN__MIXUP_ALPHA': 0.5,
                                          'TRAIN__OPTIMIZER__NAME': 'SGD', 'MODEL__DROPPATH': 0.3, 'TRAIN__PRECISE_BN': True,
                                          'TRAIN__PROGRESSIVE_SIZES': [32, 40]},
                                     {'TRAIN__MULTI_SCALE': [32, 64], 'TRAIN__REPEATED_AUG': 3, 'TRAIN__MIXUP_MODE': 'elem',
                                      'TRAIN__CUTMIX_ALPHA': 1.0, 'TRAIN__AUTO_AUGMENT': 'v0', 'VALIDATE_FREQ': 2}])
def test_a_resumed_run_is_bit_for_bit_the_one_that_was_not_stopped(tiny, options):
    whole = train(tiny(**options))
    stopped = train(tiny(**options, TRAIN__MAX_STEPS=2))           # in the middle of the first epoch
    assert train(tiny(**options, RESUME='auto')) is None    # goes on in its own directory
    assert_same_file(whole / 'last.safetensors', stopped / 'last.safetensors')
    assert metrics(whole, 'train') == metrics(stopped, 'train')
    assert metrics(whole, 'eval')[-1] == metrics(stopped, 'eval')[-1]


def test_the_number_of_workers_changes_nothing(tiny):
    a, b = (train(tiny(DATA__NUM_WORKERS=n, TRAIN__NUM_EPOCHS=1)) for n in (0, 2))
    assert_same_file(a / 'last.safetensors', b / 'last.safetensors')


def test_resuming_from_an_earlier_checkpoint_leaves_the_later_part_alone(tiny):
    first = train(tiny())
    before = (first / 'last.safetensors').read_bytes()
    (first / 'best.safetensors').rename(first / 'early.safetensors')
    second = train(tiny(TRAIN__NUM_EPOCHS=3, RESUME=str(first / 'early.safetensors')))
    assert second is not None and (first / 'last.safetensors').read_bytes() == before


def test_auto_without_a_run_starts_one(tiny):
    assert train(tiny(RESUME='auto', TRAIN__MAX_STEPS=1)) is not None


def test_another_batch_size_goes_on_at_the_start_of_the_epoch(tiny):
    directory = train(tiny(TRAIN__MAX_STEPS=3))
    train(tiny(RESUME='auto', DATA__BATCH_SIZE=8))
    assert 'continues at the start of epoch 1' in (directory / 'log.txt').read_text()


@pytest.mark.parametrize('changed, steps', [({'DATA__BATCH_SIZE': 2, 'TRAIN__ACCUM_ITER': 2}, 6)])
def test_what_a_run_has_written_survives_a_resume_with_other_steps(tiny, changed, steps):
    options = {'REPORT_FREQ': 1, 'TRAIN__NUM_EPOCHS': 4, 'TRAIN__WARMUP_EPOCHS': 1, 'KEEP_BEST': 9}
    directory = train(tiny(**options, TRAIN__MAX_STEPS=15))        # two epochs, and a half of the third
    before = [metrics(directory, kind) for kind in ('train', 'eval')]
    train(tiny(**options, **changed, RESUME='auto'))
    after = [metrics(directory, kind) for kind in ('train', 'eval')]
    assert [rows[:len(kept)] for rows, kept in zip(after, before)] == before
    assert [row['step'] for row in after[0]] == list(range(1, 16 + 2 * steps))        # the third begins again
    assert [(row['epoch'], row['step']) for row in after[1][-2:]] == [(3, 15 + steps), (4, 15 + 2 * steps)]
    cfg = tiny(**options)
    rates = [learning_rate(step, steps, cfg.TRAIN) for step in range(2 * steps, 4 * steps)]
    assert [row['lr'] for row in after[0][15:]] == rates
    kept = [directory / name for name in best_names(9) if (directory / name).exists()]
    assert sorted(read_checkpoint(path).progress.evaluated['step'] for path in kept) == [row['step'] for row in after[1]]


def fail_to_evaluate(patch, error=ic.UserError('a picture is damaged')):
    def evaluate(*_):
        raise error
    patch.setattr(trainer, 'evaluate', evaluate)


def test_an_epoch_that_is_trained_but_not_evaluated_is_not_trained_again_with_other_steps(tiny, monkeypatch):
    with monkeypatch.context() as patch:
        fail_to_evaluate(patch)
        message(tiny())
    train(tiny(RESUME='auto', DATA__BATCH_SIZE=8))
    directory, = Path(tiny().SAVE).iterdir()
    assert [(row['epoch'], row['step']) for row in metrics(directory, 'eval')] == [(1, 6), (2, 9)]


def test_a_failing_evaluation_loses_no_step_and_the_resumed_run_begins_with_it(tiny, monkeypatch):
    options = {'VALIDATE_FREQ': 2, 'REPORT_FREQ': 1, 'TRAIN__MODEL_EMA': True}
    whole = train(tiny(**options))
    with monkeypatch.context() as patch:
        fail_to_evaluate(patch)
        assert message(tiny(**options, SAVE=f'{whole.parent}-2')) == 'a picture is damaged'
    directory, = Path(f'{whole.parent}-2').iterdir()
    assert read_checkpoint(directory / 'last.safetensors').progress.step == metrics(whole, 'train')[-1]['step']
    assert not metrics(directory, 'eval') and not (directory / 'best.safetensors').exists()
    train(tiny(**options, SAVE=str(directory.parent), RESUME='auto'))
    assert_same_file(whole / 'last.safetensors', directory / 'last.safetensors')
    assert [metrics(whole, kind) for kind in ('train', 'eval')] == [metrics(directory, kind) for kind in ('train', 'eval')]
    assert sorted(path.name for path in whole.iterdir()) == sorted(path.name for path in directory.iterdir())


def test_an_evaluation_that_was_not_saved_comes_once_more_but_not_twice_in_the_metrics(tiny, monkeypatch):
    class Killed(BaseException):
        pass

    def add(self, *_):
        raise Killed                                               # after its lines are written
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(trainer.BestCheckpoints, 'add', add)
        train(tiny(TRAIN__NUM_EPOCHS=1))
    train(tiny(TRAIN__NUM_EPOCHS=1, RESUME='auto'))
    directory, = Path(tiny().SAVE).iterdir()
    assert [row['step'] for row in metrics(directory, 'eval')] == [6] and len(metrics(directory, 'train')) == 3


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_no_network_of_nan_is_saved_and_the_good_checkpoint_stays(tiny, monkeypatch, value):
    directory = train(tiny(TRAIN__MAX_STEPS=2))
    before, real = (directory / 'last.safetensors').read_bytes(), trainer.Trainer.end_step

    def end_step(self, *args):
        real(self, *args)
        self.network.model.classifier.bias.set_value(np.float32([1, value]))
    monkeypatch.setattr(trainer.Trainer, 'end_step', end_step)
    text = message(tiny(TRAIN__MAX_STEPS=3, RESUME='auto'))
    assert 'are NaN or infinite after step 3, the first is model.classifier.bias; last.safetensors is not written' in text
    assert (directory / 'last.safetensors').read_bytes() == before and not list(directory.glob('.*'))


def test_damaged_pictures_to_evaluate_are_named_before_anything_is_trained(tiny, colours, tmp_path):
    data = shutil.copytree(colours, tmp_path / 'data')
    for number in (1, 3):
        os.truncate(data / 'val' / 'bläu' / f'picture {number}.png', 700)
    text = message(tiny(DATA__DATA_PATH=str(data)))
    assert text.startswith('2 of 10 pictures to evaluate cannot be read')
    assert 'picture 1.png' in text and 'picture 3.png' in text
    assert not Path(tiny().SAVE).exists()


def test_accumulating_batches_equals_one_large_batch(tiny):
    options = {'TRAIN__MAX_STEPS': 1, 'TRAIN__OPTIMIZER__NAME': 'SGD', 'TRAIN__BASE_LR': 0.01, 'TRAIN__CROP_SCALE': [1.0, 1.0],
               'TRAIN__HFLIP': 0, 'MODEL__DROPOUT': 0.0}
    names = ('model.classifier.bias',)                               # batch norm sees other batches: the rest differs
    small = load_file(train(tiny(**options, DATA__BATCH_SIZE=4, TRAIN__ACCUM_ITER=2)) / 'last.safetensors')
    large = load_file(train(tiny(**options, DATA__BATCH_SIZE=8)) / 'last.safetensors')
    for name in names:
        np.testing.assert_allclose(small[name], large[name], atol=2e-3)


def test_the_checkpoint_of_an_averaged_training_gives_the_average(tiny):
    directory = train(tiny(TRAIN__MODEL_EMA=True, TRAIN__NUM_EPOCHS=1))
    checkpoint = read_checkpoint(directory / 'last.safetensors')
    model, names = load_network(directory / 'last.safetensors')
    assert names == ['bläu', 'red, warm'] and not model.training
    np.testing.assert_array_equal(model.classifier.weight.numpy(), checkpoint.ema['classifier.weight'])
    assert (checkpoint.ema['classifier.weight'] != checkpoint.model['classifier.weight']).any()


def test_eval_repeats_the_accuracy_of_the_training(tiny):
    directory = train(tiny(TRAIN__MODEL_EMA=True))
    best = max(row['top1'] for row in metrics(directory, 'eval'))
    for key in ('RESUME', 'PRETRAINED'):
        assert train_or_evaluate(tiny(EVAL=True, **{key: str(directory / 'best.safetensors')}), Group())['top1'] == best


def test_evaluation_does_not_depend_on_the_batch_size(tiny):
    model = ic.create_model(tiny())
    results = []
    for size in (1, 3, 10):
        cfg = tiny(DATA__BATCH_SIZE_EVAL=size)
        results.append(evaluate(model, get_dataloader(cfg, get_dataset(cfg, False), False), Group()))
    assert model.training and results[0]['images'] == 10
    assert len({(r['top1'], r['top5']) for r in results}) == 1
    np.testing.assert_allclose([r['loss'] for r in results], results[0]['loss'], rtol=1e-5)


def test_pretrained_weights_with_another_number_of_classes_get_a_new_classifier(tiny):
    directory = train(tiny(TRAIN__MAX_STEPS=1))
    file = directory / 'last.safetensors'
    with pytest.warns(UserWarning, match='keep their fresh weights'):
        model = ic.create_model('mobilenet_v1_x0_25', num_classes=5, pretrained=file)
    np.testing.assert_array_equal(model.conv_stem.weight.numpy(), load_file(file)['model.conv_stem.weight'])


def test_paddle_model_evaluates_on_a_data_set_of_ours(tiny):
    cfg = tiny()
    model = paddle.Model(ic.create_model(cfg))
    model.prepare(optimizer=None, loss=paddle.nn.CrossEntropyLoss(), metrics=paddle.metric.Accuracy(topk=(1, 2)))
    result = model.evaluate(get_dataset(cfg, is_train=False), batch_size=4, verbose=0)
    assert result['acc_top2'] == 1.0 and 0 <= result['acc_top1'] <= 1


def test_unreadable_training_images_are_named_in_the_log(tiny, colours, tmp_path):
    data = tmp_path / 'data'
    shutil.copytree(colours, data)
    (data / 'train' / 'bläu' / 'picture 3.png').write_bytes(b'no image')
    directory = train(tiny(DATA__DATA_PATH=str(data), TRAIN__NUM_EPOCHS=1, TRAIN__MAX_STEPS=0))
    assert 'picture 3.png' in (directory / 'log.txt').read_text()
    assert 'MAX_BAD_IMAGES' in message(tiny(DATA__DATA_PATH=str(data), DATA__MAX_BAD_IMAGES=0))


@pytest.mark.parametrize('overrides, words', [
    ({'DATA__BATCH_SIZE': 100}, 'set -batch_size 8, which makes 3 steps of an epoch'),
    ({'TRAIN__ACCUM_ITER': 7}, 'ACCUM_ITER is 7'),
    ({'EVAL': True}, '-pretrained'),
    ({'RESUME': 'nowhere.safetensors'}, 'no checkpoint at nowhere'), ({'DATA__DATA_PATH': '/nowhere'}, '/nowhere'),
    ({'MODEL__NUM_CLASSES': 3}, '-num_classes 2'), ({'MODEL__NUM_CLASSES': 1}, 'NUM_CLASSES is 1; wanted 2 or more to train'),
    ({'PRETRAINED': 'nowhere.pdparams'}, 'no weights at nowhere')])
def test_bad_input_gets_one_clear_message_and_leaves_no_run(tiny, overrides, words):
    cfg = tiny(**overrides)
    assert words in message(cfg)
    assert not Path(cfg.SAVE).exists()


def test_a_checkpoint_of_another_model_is_refused(tiny):
    directory = train(tiny(TRAIN__MAX_STEPS=1))
    last = str(directory / 'last.safetensors')
    assert 'MODEL.WIDTH' in message(tiny(RESUME=last, MODEL__WIDTH=0.5))
    assert 'OPTIMIZER' in message(tiny(RESUME=last, TRAIN__OPTIMIZER__NAME='SGD'))


def test_a_training_that_is_complete_says_so(tiny):
    directory = train(tiny(TRAIN__NUM_EPOCHS=1))
    assert 'already finished all' in message(tiny(TRAIN__NUM_EPOCHS=1, RESUME=str(directory / 'best.safetensors')))


def test_a_run_never_writes_into_the_directory_of_another(tiny):
    assert len({train(tiny(TRAIN__MAX_STEPS=1)) for _ in range(3)}) == 3


def test_an_output_that_is_a_file_is_refused(tiny, tmp_path):
    (tmp_path / 'file').write_text('')
    assert 'Choose another -output' in message(tiny(SAVE=str(tmp_path / 'file')))


def test_a_limit_of_steps_holds_for_the_resumed_run_too(tiny):
    directory = train(tiny(TRAIN__MAX_STEPS=2))
    train(tiny(TRAIN__MAX_STEPS=2, RESUME='auto'))
    train(tiny(TRAIN__MAX_STEPS=3, RESUME='auto'))
    assert [row['step'] for row in metrics(directory, 'train')] == [2, 3]


PEAK = """
import resource, sys
import image_classification as ic
from image_classification.engine.processes.distributed import Group
from image_classification.engine.trainer import train_or_evaluate
cfg = ic.get_config(sys.argv[1])
numbers = sum(parameter.size for parameter in ic.create_model(cfg).parameters())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
train_or_evaluate(cfg, Group())
print('copies', (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (4 * numbers))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='ru_maxrss has another unit elsewhere')
def test_a_run_that_stops_in_mid_epoch_holds_few_copies_of_the_network(tiny, tmp_path):
    """python -m pytest -m slow tests/engine/test_trainer.py"""
    (tmp_path / 'config.yaml').write_text(tiny('mobileformer_26m', TRAIN__MAX_STEPS=2, TRAIN__MODEL_EMA=True).dump())
    out = subprocess.run([sys.executable, '-c', PEAK, tmp_path / 'config.yaml'], capture_output=True, text=True, check=True,
                         cwd=Path(__file__).parents[2]).stdout
    assert float(out.split('copies ')[1]) < 30                     # each view, copied with all that is behind it: 91
