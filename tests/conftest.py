import ctypes
import gc
import os
import platform
import sys
import traceback
from pathlib import Path

import numpy as np
import paddle
import pytest
from PIL import Image

import image_classification as ic
from image_classification.engine import introduction, summary, workers

from tests.download_server import server, url  # noqa: F401  (fixtures)
from tests.exports import pictures, small, small_checkpoint, small_exports, trained  # noqa: F401  (fixtures)
from tests.networks import FEWER_BLOCKS

ic.tune_cpu()
# What tests start imports this clone, whatever else is installed.
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH')]))
os.environ['PADDLE_MOBILE_BACKBONES_OPERATORS'] = '0'              # the plain code, whatever is compiled on this machine


SHARED = ('tests/deploy/', 'tests/tools/', 'tests/demo/')           # whose files share exports


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each file is run by one process, and all files that share what takes seconds to make by the same."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split('::')[0]
            return 'exports' if file.startswith(SHARED) else file
    return ByFile(config, log)


def pytest_collection_finish():
    """What all tests import stays: from here on, collections of garbage pass it over, and come more seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(scope='module', autouse=True)
def free_memory():
    """Between two files, give back to the system what the process keeps for its next networks: thousands of tests add up.
    What is left then, stays: Paddle keeps thousands of objects of each traced network, through which each collection of garbage
    would look again."""
    yield
    gc.collect()
    gc.freeze()
    if platform.libc_ver()[0] == 'glibc':
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope='session', autouse=True)
def short_stacks():
    """Of each operator that Paddle traces, it notes the stack, for its error messages: below pytest, a third of an export's time."""
    whole = traceback.extract_stack

    def extract_stack(frame=None, limit=None):
        return whole(frame or sys._getframe(1), limit or 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traceback, 'extract_stack', extract_stack)
        yield


@pytest.fixture(scope='session', autouse=True)
def quick_trainings():
    """A training neither counts multiply-adds nor draws, nor tries how many processes are fastest, all of which takes longer than
    its few steps. Tests of these undo it: engine/test_introduction.py, engine/test_report.py and engine/test_workers.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(introduction, 'count_macs', lambda network, image_size: 0)
        patch.setattr(summary, 'write_curves', lambda *_: 'curves      not drawn')
        patch.setattr(workers, 'usable_cores', lambda: 1)
        yield


@pytest.fixture
def float64():
    """Layers and tensors are made in float64 within the test."""
    paddle.set_default_dtype('float64')
    yield
    paddle.set_default_dtype('float32')


@pytest.fixture(scope='session')
def colours(tmp_path_factory):
    """Class folders that a network learns in a few steps: noisy red and blue pictures, 24 to train, 10 to test."""
    root = tmp_path_factory.mktemp('colours')
    rng = np.random.default_rng(0)
    for part, count in (('train', 12), ('val', 5)):
        for channel, name in ((0, 'red, warm'), (2, 'bläu')):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (40, 48, 3), dtype=np.uint8)
                pixels[:, :, channel] += 120
                Image.fromarray(pixels).save(folder / f'picture {i}.png')
    return root


@pytest.fixture
def tiny(colours, tmp_path):
    """tiny(**overrides): the configuration of a training of a few seconds, keys written with __ for the dot."""
    def make(**overrides):
        values = {'DATA.DATASET': 'folder', 'DATA.DATA_PATH': str(colours), 'DATA.IMAGE_SIZE': 32, 'DATA.CROP_PCT': 1.0,
                  'DATA.BATCH_SIZE': 4, 'DATA.NUM_WORKERS': 0, 'MODEL.NUM_CLASSES': 2, 'TRAIN.NUM_EPOCHS': 2,
                  'TRAIN.WARMUP_EPOCHS': 0, 'TRAIN.COLOR_JITTER': 0, 'TRAIN.CROP_SCALE': [0.5, 1], 'REPORT_FREQ': 2,
                  'TRAIN.PRECISE_BN': False, 'EXPORT': False, 'SAVE': str(tmp_path / 'output')}
        values.update({key.replace('__', '.'): value for key, value in overrides.items()})
        return ic.get_config('mobileformer_26m', {**FEWER_BLOCKS['mobileformer_26m'], **values})
    return make
