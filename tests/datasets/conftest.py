"""Small configurations and files that the tests of the data sets share."""
import contextlib
import signal

import numpy as np
import pytest
from PIL import Image

from image_classification.config import get_config


@pytest.fixture
def config():
    """config('DATA.BATCH_SIZE', 4, ...): the defaults with small images, ten classes and no worker processes."""
    def make(*pairs):
        small = {'DATA.IMAGE_SIZE': 8, 'DATA.CROP_PCT': 1.0, 'MODEL.NUM_CLASSES': 10, 'DATA.NUM_WORKERS': 0,
                 'DATA.BATCH_SIZE': 4}
        return get_config(None, {**small, **dict(zip(pairs[::2], pairs[1::2]))})
    return make


@pytest.fixture
def photo():
    """photo(width, height): an RGB image of noise, always the same."""
    def make(width=20, height=12, seed=0):
        return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8))
    return make


@pytest.fixture
def smooth(tmp_path):
    """smooth(width, height, ...): a JPEG file without fine detail, saved with options of Pillow's."""
    def make(width, height, mode='RGB', **options):
        small = np.random.RandomState(1).randint(0, 256, (4, 5, 3), np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
        image.save(tmp_path / 'smooth.jpg', quality=95, **options)
        return tmp_path / 'smooth.jpg'
    return make


@pytest.fixture
def class_folders(photo):
    """class_folders(root, {'train/cat': 3, ...}): folders with so many images."""
    def make(root, counts):
        for name, count in counts.items():
            (root / name).mkdir(parents=True)
            for i in range(count):
                photo(10, 8, i).save(root / name / f'{i}.png')
        return root
    return make


@pytest.fixture
def within():
    """with within(seconds): fails where the body hangs."""
    @contextlib.contextmanager
    def limit(seconds):
        def stop(*_):
            raise TimeoutError(f'still running after {seconds} s')
        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
        try:
            yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
    return limit
