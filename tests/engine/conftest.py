"""Trainings of a second: a small network, and without what only some tests look at."""
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs
from image_classification.engine import introduction, summary

NAME = 'mobilenet_v1_x0_25'


@pytest.fixture(scope='session', autouse=True)
def counted_once():
    """The multiply-accumulates of a network are counted once, which takes longer than a training here."""
    known = {}

    def macs(model, image_size):
        key = str(model.config.MODEL), image_size
        if key not in known:
            known[key] = count_macs(model, image_size)
        return known[key]
    introduction.count_macs = macs
    yield
    introduction.count_macs = count_macs


@pytest.fixture(autouse=True)
def without_curves(request, monkeypatch):
    """matplotlib draws for longer than a training lasts here; tests of it are in test_report.py."""
    if request.module.__name__ != 'tests.engine.test_report':
        monkeypatch.setattr(summary, 'write_curves', lambda directory: 'curves      not drawn')


@pytest.fixture(scope='session')
def tiny_in(colours):
    """tiny_in(directory, name, **overrides): the configuration of a training, keys written with __ for the dot."""
    def make(directory, name=NAME, **overrides):
        values = {'DATA.DATASET': 'folder', 'DATA.DATA_PATH': str(colours), 'DATA.IMAGE_SIZE': 32, 'DATA.CROP_PCT': 1.0,
                  'DATA.BATCH_SIZE': 4, 'DATA.NUM_WORKERS': 0, 'MODEL.NUM_CLASSES': 2, 'MODEL.DROPOUT': 0.2,
                  'TRAIN.NUM_EPOCHS': 2, 'TRAIN.WARMUP_EPOCHS': 0, 'TRAIN.COLOR_JITTER': 0, 'TRAIN.CROP_SCALE': [0.5, 1],
                  'REPORT_FREQ': 2, 'EXPORT': False, 'SAVE': str(directory)}
        return ic.get_config(name, {**values, **{key.replace('__', '.'): value for key, value in overrides.items()}})
    return make


@pytest.fixture
def tiny(tiny_in, tmp_path):
    """tiny(name, **overrides): the same, in a directory of this test."""
    return lambda name=NAME, **overrides: tiny_in(tmp_path / 'output', name, **overrides)
