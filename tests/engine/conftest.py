"""Trainings of a second, of a small network."""
import pytest

import image_classification as ic
from image_classification.mobilenet_v1 import model

NAME = 'mobilenet_v1_x0_25'


AS_PUBLISHED = ('test_introduction', 'test_layer_decay', 'test_supervisor')   # modules that look at the whole network or start it


@pytest.fixture(scope='module', autouse=True)
def one_block_per_stage(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition('.')[2] not in AS_PUBLISHED:
            patch.setattr(model, 'STAGES', [(channels, 1, stride) for channels, _, stride in model.STAGES])
        yield


@pytest.fixture(scope='session')
def tiny_in(colours):
    """tiny_in(directory, name, **overrides): the configuration of a training, keys written with __ for the dot."""
    def make(directory, name=NAME, **overrides):
        values = {'DATA.DATASET': 'folder', 'DATA.DATA_PATH': str(colours), 'DATA.IMAGE_SIZE': 32, 'DATA.CROP_PCT': 1.0,
                  'DATA.BATCH_SIZE': 4, 'DATA.NUM_WORKERS': 0, 'MODEL.NUM_CLASSES': 2, 'MODEL.DROPOUT': 0.2,
                  'TRAIN.NUM_EPOCHS': 2, 'TRAIN.WARMUP_EPOCHS': 0, 'TRAIN.COLOR_JITTER': 0, 'TRAIN.CROP_SCALE': [0.5, 1],
                  'TRAIN.PRECISE_BN': False, 'REPORT_FREQ': 2, 'EXPORT': False, 'SAVE': str(directory)}
        return ic.get_config(name, {**values, **{key.replace('__', '.'): value for key, value in overrides.items()}})
    return make


@pytest.fixture
def tiny(tiny_in, tmp_path):
    """tiny(name, **overrides): the same, in a directory of this test."""
    return lambda name=NAME, **overrides: tiny_in(tmp_path / 'output', name, **overrides)
