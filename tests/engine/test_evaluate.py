"""An evaluation needs nothing but a checkpoint and a folder, whose names are those of the classes."""
import json
import shutil

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.checkpoint import read_checkpoint
from image_classification.datasets import get_dataloader, get_dataset
from image_classification.engine import launch
from image_classification.engine.checkpoint import check_same_training
from image_classification.engine.evaluate import describe, evaluate as evaluate_network
from image_classification.engine.processes.distributed import Group
from image_classification.weights import read_safetensors, write_safetensors
from image_classification.weights.catalogue import PREPROCESSING
from tests.engine.test_command_line import configured
from tests.engine.test_trainer import metrics, train


@pytest.fixture(scope='module')
def run(tiny_in, tmp_path_factory):
    """The directory of a training on `colours`."""
    return train(tiny_in(tmp_path_factory.mktemp('trained'), DATA__BATCH_SIZE=8, TRAIN__BASE_LR=0.01, TRAIN__NUM_EPOCHS=4,
                         TRAIN__OPTIMIZER__NAME='SGD', VALIDATE_FREQ=4))


@pytest.fixture
def evaluate(run, tmp_path):
    """evaluate(DIR, *flags): (metrics, log) of `-eval` with a checkpoint and a folder alone."""
    def call(data, *flags):
        output = tmp_path / 'evaluations'
        before = set(output.glob('*'))
        launch.single(['-eval', '-pretrained', str(run / 'best.safetensors'), '-data_path', str(data), '-output', str(output),
                       *map(str, flags)])
        directory, = set(output.glob('*')) - before
        return metrics(directory, 'eval')[0], (directory / 'log.txt').read_text(), directory
    return call


@pytest.fixture
def flat(colours, tmp_path):
    """The test pictures as class folders without parts."""
    return shutil.copytree(colours / 'val', tmp_path / 'flat')


def test_everything_else_is_the_checkpoints(run, flat, tmp_path):
    stored = ic.get_config(run / 'config.yaml')
    cfg, opening = configured('-eval', '-pretrained', run / 'best.safetensors', '-data_path', flat, '-output', tmp_path)
    assert cfg.MODEL == stored.MODEL and cfg.TRAIN == stored.TRAIN and cfg.EVAL
    assert {**cfg.DATA, 'DATA_PATH': ''} == {**stored.DATA, 'DATA_PATH': ''} and cfg.DATA.DATA_PATH == str(flat)
    assert opening == [f'configuration  that of {run / "best.safetensors"}']
    assert configured('-eval', '-pretrained', run / 'best.safetensors', '-image_size', 64)[0].DATA.IMAGE_SIZE == 64


def test_a_configuration_beside_it_overrules_neither_its_preprocessing_nor_its_classes(run, flat, tmp_path):
    stored = ic.get_config(run / 'config.yaml')
    own = {'BASE': stored.MODEL.NAME, 'DATA': {'IMAGE_SIZE': 96, 'CROP_PCT': 0.5}, 'MODEL': {'NUM_CLASSES': 9}}
    (tmp_path / 'other.yaml').write_text(json.dumps(own))
    for given in (('-pretrained', run / 'best.safetensors'), ('-resume', run), ('-resume', run / 'last.safetensors')):
        for name in (stored.MODEL.NAME, tmp_path / 'other.yaml'):
            cfg, opening = configured('-cfg', name, '-eval', *given, '-data_path', flat)
            assert all(cfg.DATA[key] == stored.DATA[key] for key in PREPROCESSING) and cfg.MODEL.NUM_CLASSES == 2
            assert opening[-1].startswith(f'with {given[1]} come: ') and 'MODEL.NUM_CLASSES 2' in opening[-1]
            assert f'DATA.IMAGE_SIZE {stored.DATA.IMAGE_SIZE}' in opening[-1]
            flags = configured('-cfg', name, '-eval', *given, '-image_size', 64, '-num_classes', 5)[0]
            assert (flags.DATA.IMAGE_SIZE, flags.MODEL.NUM_CLASSES, flags.DATA.CROP_PCT) == (64, 5, stored.DATA.CROP_PCT)


def test_a_training_that_starts_from_it_takes_its_preprocessing_and_says_so(run, flat):
    stored = ic.get_config(run / 'config.yaml')
    words = ['-cfg', stored.MODEL.NAME, '-pretrained', run / 'best.safetensors', '-data_path', flat]
    cfg, opening = configured(*words)
    assert all(cfg.DATA[key] == stored.DATA[key] for key in PREPROCESSING) and not cfg.EVAL
    size = f'DATA.IMAGE_SIZE {stored.DATA.IMAGE_SIZE}'
    assert opening[-1].startswith(f'with {run / "best.safetensors"} come: ') and size in opening[-1]
    cfg, opening = configured(*words, '-image_size', 96)
    assert cfg.DATA.IMAGE_SIZE == 96 and 'IMAGE_SIZE' not in opening[-1]


def test_a_folder_without_parts_is_evaluated_whole_and_it_says_so(run, evaluate, colours, flat):
    trained, = metrics(run, 'eval')
    for data, words in ((colours, 'the 10 pictures of val/'), (flat, 'all 10 pictures of it')):
        found, log, _ = evaluate(data)
        assert (found['top1'], found['images']) == (trained['top1'], 10) and f'{data}: {words}' in log
        assert found['loss'] == pytest.approx(trained['loss'], rel=1e-5)


def test_classes_are_matched_by_name_and_some_may_be_missing(evaluate, flat):
    _, log, directory = evaluate(flat, '-per_class')
    counts = {row.rsplit(',', 4)[0]: row.rsplit(',', 4)[2] for row in (directory / 'per_class.csv').read_text().splitlines()}
    shutil.rmtree(flat / 'bläu')                                   # the first: the other one's number stays 1
    found, log, _ = evaluate(flat)
    assert found['images'] == 5 and found['top1'] == float(counts['"red, warm"']) and 'no pictures of bläu' in log
    (flat / 'bläu').mkdir()                                        # empty is missing, too
    assert evaluate(flat)[0] == found


def test_unknown_classes_are_refused_by_name(evaluate, flat, capsys):
    shutil.copytree(flat / 'bläu', flat / 'green')
    with pytest.raises(SystemExit) as caught:
        evaluate(flat)
    message = capsys.readouterr().err
    assert caught.value.code == 1 and len(message.splitlines()) == 1
    assert 'has the folders green, which the network does not know; its classes are bläu, red, warm' in message


def test_lists_are_matched_by_name_too(run, colours, tmp_path, capsys):
    lists = shutil.copytree(colours, tmp_path / 'lists')
    (lists / 'val_list.txt').write_text('\n'.join(f'{file.relative_to(lists)} {int("bläu" in str(file))}'
                                                  for file in sorted(lists.glob('val/*/*.png'))), encoding='utf-8')
    (lists / 'classes.txt').write_text('red, warm\nbläu\n', encoding='utf-8')         # not in the order of the checkpoint

    def evaluated():
        launch.single(['-eval', '-pretrained', str(run / 'best.safetensors'), '-data_path', str(lists), '-dataset',
                       'imagenet2012', '-output', str(tmp_path / 'e')])
        directory, = (tmp_path / 'e').iterdir()
        return metrics(directory, 'eval')[0]['top1'], (directory / 'log.txt').read_text(encoding='utf-8')
    top1, log = evaluated()
    assert top1 == metrics(run, 'eval')[0]['top1'] and 'matched by name' in log
    (lists / 'classes.txt').write_text('red, warm\ngreen\n', encoding='utf-8')
    with pytest.raises(SystemExit):
        evaluated()
    assert 'knows other classes than the data set has: only in the data set: green' in capsys.readouterr().err


def test_a_resumed_training_names_what_differs(run):
    checkpoint = read_checkpoint(run / 'best.safetensors')
    for names, words in ((['bläu', 'rot'], 'only in the data set: rot'),
                         (['red, warm', 'bläu'], 'in another order: number 0 is red')):
        with pytest.raises(ic.UserError, match=f'was trained on other classes than the data set has: .*{words}'):
            check_same_training(checkpoint, checkpoint.cfg, names)


def test_of_the_folder_that_it_was_trained_on_the_held_back_fifth_is_evaluated(tiny, colours, tmp_path):
    shutil.copytree(colours / 'train', tmp_path / 'both')
    run = train(tiny(DATA__DATA_PATH=str(tmp_path / 'both'), TRAIN__MAX_STEPS=2))
    launch.single(['-eval', '-pretrained', str(run / 'best.safetensors'), '-output', str(tmp_path / 'evaluation')])
    directory, = (tmp_path / 'evaluation').iterdir()
    assert metrics(directory, 'eval')[0]['images'] == 4 == metrics(run, 'eval')[0]['images']
    assert 'the 4 pictures of it that trainings hold back' in (directory / 'log.txt').read_text()


def test_a_checkpoint_of_another_kind_of_data_set_is_evaluated_on_a_folder(tiny, colours, tmp_path, flat):
    lists = shutil.copytree(colours, tmp_path / 'lists')
    for part in ('train', 'val'):
        names = [f'{file.relative_to(lists)} {int("red" in str(file))}' for file in sorted(lists.glob(f'{part}/*/*.png'))]
        (lists / f'{part}_list.txt').write_text('\n'.join(names), encoding='utf-8')
    (lists / 'classes.txt').write_text('bläu\nred, warm\ngreen\n', encoding='utf-8')
    run = train(tiny(DATA__DATASET='imagenet2012', DATA__DATA_PATH=str(lists), MODEL__NUM_CLASSES=3, TRAIN__MAX_STEPS=2))
    launch.single(['-eval', '-pretrained', str(run / 'best.safetensors'), '-data_path', str(flat), '-output', str(tmp_path / 'e')])
    directory, = (tmp_path / 'e').iterdir()
    assert metrics(directory, 'eval')[0]['top1'] == metrics(run, 'eval')[0]['top1']
    assert 'no pictures of green' in (directory / 'log.txt').read_text()


@pytest.mark.parametrize('made, words', [([], 'does not exist'), (['.'], 'has no folders in it'), (['bläu'], 'holds no images')])
def test_a_folder_without_pictures_is_refused(evaluate, tmp_path, capsys, made, words):
    for name in made:
        (tmp_path / 'DIR' / name).mkdir(parents=True)
    with pytest.raises(SystemExit) as caught:
        evaluate(tmp_path / 'DIR')
    message = capsys.readouterr().err
    assert caught.value.code == 1 and words in message and len(message.splitlines()) == 1


class Gives(paddle.nn.Layer):
    """(B, 3, H, W) -> logits, of which those of the first picture are `value`."""

    def __init__(self, value):
        super().__init__()
        self.value, self.seen = value, False

    def forward(self, images):
        logits = paddle.zeros([len(images), 2])
        if not self.seen:
            logits[0] = self.value
        self.seen = True
        return logits


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_logits_that_are_not_finite_are_an_error(tiny, value):
    cfg = tiny()
    loader = get_dataloader(cfg, get_dataset(cfg, False), False)
    assert evaluate_network(Gives(0.0), loader, Group())['top1'] == 50
    with pytest.raises(ic.UserError, match='gives NaN or infinite numbers for 1 of 10 images to evaluate'):
        evaluate_network(Gives(value), loader, Group())


def test_an_evaluation_of_nan_fails(run, tmp_path, capsys):
    tensors, metadata = read_safetensors(run / 'best.safetensors')
    tensors['model.classifier.bias'] = np.float32([0, np.nan])
    write_safetensors(tmp_path / 'spoilt.safetensors', tensors, metadata)
    with pytest.raises(SystemExit) as caught:
        launch.single(['-eval', '-pretrained', str(tmp_path / 'spoilt.safetensors'), '-output', str(tmp_path / 'out')])
    assert caught.value.code == 1 and 'for 10 of 10 images' in capsys.readouterr().err.splitlines()[-1]


def test_top5_is_told_where_there_are_more_than_five_classes(run):
    found = {'top1': 50.0, 'top5': 90.0, 'loss': 1.0, 'images': 10}
    assert describe(found, 6) == 'top-1 50.00 %, top-5 90.00 %, loss 1.0000 on 10 images'
    assert describe(found, 5) == 'top-1 50.00 %, loss 1.0000 on 10 images'
    log = (run / 'log.txt').read_text()
    assert 'top-1' in log and 'top 1' in log and 'top-5' not in log and 'top 5' not in log
