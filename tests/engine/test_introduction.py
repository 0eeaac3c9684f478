"""What the first lines of a training say, and what is kept of its configuration."""
from pathlib import Path

import image_classification as ic
from image_classification.deploy.complexity import count_macs
from image_classification.engine import introduction
from image_classification.engine.processes.distributed import Group
from image_classification.engine.trainer import train_or_evaluate
from tests.engine.test_trainer import train


def test_the_log_begins_with_the_model_the_data_the_rate_and_the_place(tiny, monkeypatch):
    monkeypatch.setattr(introduction, 'count_macs', count_macs)
    directory = train(tiny(TRAIN__MAX_STEPS=1, TRAIN__ACCUM_ITER=2, TRAIN__LINEAR_SCALED_LR=16, SEED=7))
    lines = [line[20:] for line in (directory / 'log.txt').read_text().splitlines()]
    assert lines[:4] == ['mobilenet_v1_x0_25, 213,586 parameters, 0.8 M MACs at 32 px, 2 classes; on 1 x cpu',
                         'folder: 24 images to train, 10 to test; seed 7',
                         'total batch 8, learning rate 0.0005 at its peak', f'writes to {directory}']
    assert lines[4].startswith('warning: the training has 1 step in all')
    assert 'waiting ' in lines[5] and lines[5].endswith(' left')


def test_the_log_begins_with_what_the_launcher_says(tiny):
    cfg = tiny(TRAIN__MAX_STEPS=1)
    train_or_evaluate(cfg, Group(), opening=['configuration  x.yaml', 'flags and -opts: SEED 7'])
    log, = Path(cfg.SAVE).glob('*/log.txt')
    assert [line[20:] for line in log.read_text().splitlines()[:2]] == ['configuration  x.yaml', 'flags and -opts: SEED 7']


def test_a_resumed_run_says_what_has_changed_and_keeps_both_configurations(tiny):
    directory = train(tiny(TRAIN__MAX_STEPS=1))
    train(tiny(TRAIN__MAX_STEPS=2, TRAIN__BASE_LR=0.5, RESUME='auto'))
    log = (directory / 'log.txt').read_text()
    assert 'changed since the checkpoint: TRAIN.MAX_STEPS 1 -> 2, TRAIN.BASE_LR 0.001 -> 0.5' in log
    rates = [ic.get_config(directory / name).TRAIN.BASE_LR for name in ('config.yaml', 'config-2.yaml')]
    assert rates == [0.001, 0.5]
    train(tiny(TRAIN__MAX_STEPS=2, TRAIN__BASE_LR=0.5, RESUME='auto'))
    assert not (directory / 'config-3.yaml').exists()
