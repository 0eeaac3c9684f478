"""Batches: which images, in which order, on which process; and what happens when one cannot be loaded."""
import gc
import os
import signal
import types

import numpy as np
import paddle
import pytest

from image_classification.datasets import Preprocess, get_dataloader, get_dataset, loader
from image_classification.errors import UserError


class Numbers(paddle.io.Dataset):
    """Image and label of sample i are i; `bad` ones cannot be read, `broken` ones are a bug, `deadly` ones kill."""

    def __init__(self, count, bad=(), broken=(), deadly=()):
        super().__init__()
        self.count, self.bad, self.broken, self.deadly = count, set(bad), set(broken), set(deadly)
        self.read = []

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        self.read.append(i)
        if i in self.bad:
            raise UserError(f'{i}.jpg is empty')
        if i in self.broken:
            raise KeyError(f'the bug at {i}')
        if i in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full((3, 2, 2), i, np.float32), np.int64(i)


@pytest.fixture
def load(config):
    """load(dataset, is_train, ...): batches of 4, one per process of `world_size`."""
    def make(dataset, is_train, *pairs, rank=0, world_size=1):
        return get_dataloader(config(*pairs), dataset, is_train, rank, world_size)
    return make


def labels(loader, epoch=0, start=0):
    return [batch.numpy().tolist() for _, batch in loader.epoch(epoch, start)]


# Order

def test_batches_are_float32_images_and_int64_labels(load):
    images, numbers = next(load(Numbers(10), False).epoch(0))
    assert (images.shape, images.dtype, numbers.shape, numbers.dtype) == ([4, 3, 2, 2], paddle.float32, [4], paddle.int64)
    np.testing.assert_array_equal(images.numpy()[:, 0, 0, 0], numbers.numpy())


def test_training_follows_the_permutation_of_seed_and_epoch_and_drops_the_rest(load):
    train = load(Numbers(11), True, 'SEED', 5)
    order = np.random.default_rng([5, 3]).permutation(11)[:8].tolist()
    assert labels(train, 3) == [order[:4], order[4:]] and len(train) == 2
    assert labels(train, 2) != labels(train, 3) == labels(train, 3)


@pytest.mark.parametrize('world_size', [2, 3])
def test_any_number_of_processes_sees_the_batches_of_one(load, world_size):
    one = labels(load(Numbers(50), True, 'DATA.BATCH_SIZE', 4 * world_size), 1)
    ranks = [labels(load(Numbers(50), True, rank=rank, world_size=world_size), 1) for rank in range(world_size)]
    assert [sum(parts, []) for parts in zip(*ranks)] == one


@pytest.mark.parametrize('world_size', [1, 2, 3])
@pytest.mark.parametrize('count', [1, 9, 24, 25])
def test_evaluation_counts_each_image_once(load, world_size, count):
    loaders = [load(Numbers(count), False, rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [labels(one) for one in loaders]
    assert sorted(i for rank in batches for batch in rank for i in batch) == list(range(count))
    assert [len(rank) for rank in batches] == [len(one) for one in loaders]
    assert all(sum(rank, []) == list(range(r, count, world_size)) for r, rank in enumerate(batches))


def test_evaluation_has_a_batch_size_of_its_own(load):
    assert labels(load(Numbers(7), False, 'DATA.BATCH_SIZE_EVAL', 5)) == [[0, 1, 2, 3, 4], [5, 6]]
    assert labels(load(Numbers(5), False)) == [[0, 1, 2, 3], [4]]


@pytest.mark.parametrize('is_train', [True, False])
@pytest.mark.parametrize('workers', [0, 2])
def test_start_skips_batches_without_reading_an_image(load, is_train, workers):
    dataset = Numbers(24)
    one = load(dataset, is_train, 'DATA.NUM_WORKERS', workers)
    everything = labels(one, 1)
    dataset.read.clear()
    assert labels(one, 1, start=4) == everything[4:] and len(dataset.read) == (0 if workers else 8)
    assert labels(one, 1, start=6) == []


@pytest.mark.parametrize('workers', [0, 2])
def test_the_data_set_is_told_epoch_copy_and_size(load, workers):
    class Told(Numbers):
        def pixels(self, index, epoch, copy, size):
            return np.full((3, 1, 1), [[[epoch]], [[copy]], [[size]]], np.float32), [], index
    one = load(Told(8), True, 'DATA.NUM_WORKERS', workers, 'TRAIN.REPEATED_AUG', 2, 'TRAIN.IMAGE_SIZE', 12)
    images, numbers = next(one.epoch(3))
    assert images.numpy()[:, :, 0, 0].tolist() == [[3, 0, 12], [3, 1, 12], [3, 0, 12], [3, 1, 12]]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


def stream(one):
    return [(images.numpy(), numbers.numpy()) for epoch in (0, 1) for images, numbers in one.epoch(epoch)]


@pytest.mark.parametrize('is_train', [True, False])
@pytest.mark.parametrize('shared', [True, False])
def test_the_stream_is_the_same_for_any_number_of_workers(config, class_folders, tmp_path, is_train, shared, monkeypatch):
    class_folders(tmp_path, {'train/a': 12, 'train/b': 12, 'val/a': 7, 'val/b': 7})
    (tmp_path / 'train/a/3.png').write_bytes(b'no image')
    monkeypatch.setattr(loader, '_has_shared_memory', lambda size: shared)

    def read(workers):
        cfg = config('DATA.DATASET', 'folder', 'DATA.DATA_PATH', str(tmp_path), 'MODEL.NUM_CLASSES', 2,
                     'TRAIN.RAND_AUGMENT', True, 'TRAIN.RANDOM_ERASE_PROB', 0.5, 'DATA.NUM_WORKERS', workers)
        one = get_dataloader(cfg, get_dataset(cfg, is_train), is_train)
        return stream(one), one.bad_images
    streams, bad = zip(*[read(workers) for workers in (0, 1, 2)])
    for other in streams[1:]:
        assert len(other) == len(streams[0]) == (12 if is_train else 8)
        for mine, theirs in zip(streams[0], other):
            np.testing.assert_array_equal(mine[0], theirs[0])
            np.testing.assert_array_equal(mine[1], theirs[1])
    assert bad[0] == bad[1] == bad[2] and len(bad[0]) == is_train


SEVERAL = ('TRAIN.MULTI_SCALE', [8, 16], 'TRAIN.MULTI_SCALE_STEP', 4, 'TRAIN.REPEATED_AUG', 3, 'TRAIN.IMAGE_SIZE', 12,
           'MODEL.NUM_CLASSES', 2, 'DATA.DATASET', 'folder')


@pytest.fixture
def several(config, class_folders, tmp_path):
    """several(workers, ...): a Loader of repeated images of several sizes."""
    class_folders(tmp_path, {'train/a': 20, 'train/b': 20, 'val/a': 1, 'val/b': 1})

    def make(workers=0, rank=0, world_size=1):
        cfg = config(*SEVERAL, 'DATA.DATA_PATH', str(tmp_path), 'DATA.NUM_WORKERS', workers, 'DATA.BATCH_SIZE', 4)
        return get_dataloader(cfg, get_dataset(cfg, True), True, rank, world_size)
    return make


def assert_same_stream(first, second):
    for (images, numbers), (others, theirs) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(numbers, theirs)


def test_batches_of_several_sizes_hold_about_as_many_pixels(several):
    shapes = [images.shape for images, _ in stream(several())]
    assert {(shape[0], shape[3]) for shape in shapes} == {(9, 8), (4, 12), (2, 16)}
    assert all(512 <= shape[0] * shape[2] * shape[3] <= 4 * 12 * 12 for shape in shapes)


def test_several_sizes_and_copies_are_the_same_for_any_number_of_workers(several):
    assert_same_stream(stream(several(0)), stream(several(2)))


@pytest.mark.parametrize('workers', [0, 2])
def test_several_sizes_and_copies_go_on_in_the_middle_of_an_epoch(several, workers):
    whole = [(images.numpy(), numbers.numpy()) for images, numbers in several().epoch(1)]
    for start in range(1, len(whole) + 1, 3):
        rest = [(images.numpy(), numbers.numpy()) for images, numbers in several(workers).epoch(1, start)]
        assert_same_stream(whole[start:], rest)


def test_all_processes_have_the_same_size_in_the_same_step(several):
    shapes = [[images.shape for images, _ in several(0, rank, 2).epoch(0)] for rank in range(2)]
    assert shapes[0] == shapes[1] and len({shape[2] for shape in shapes[0]}) > 1


def test_copies_of_an_image_differ_and_the_first_is_the_image_without_copies(several, config, tmp_path):
    cfg = config(*SEVERAL, 'DATA.DATA_PATH', str(tmp_path), 'TRAIN.MULTI_SCALE', [], 'TRAIN.HFLIP', 0.0)
    images, dataset = next(get_dataloader(cfg, get_dataset(cfg, True), True).epoch(0))[0].numpy(), get_dataset(cfg, True)
    index = np.random.default_rng([0, 0]).permutation(40)[0]
    np.testing.assert_array_equal(images[0], dataset[index][0])
    assert (images[0] != images[1]).any() and (images[1] != images[2]).any()
    np.testing.assert_array_equal(images[2], dataset.sample(index, copy=2)[0])


def test_the_files_of_a_batch_can_be_asked_for(several, tmp_path):
    one = several()
    for number, (_, numbers) in enumerate(one.epoch(1)):
        files = one.paths(1, number)
        assert [int(file.startswith(str(tmp_path / 'train/b'))) for file in files] == numbers.numpy().tolist()


def test_leaving_an_epoch_early_does_not_hang(load, within):
    with within(30):
        for _ in load(Numbers(400), True, 'DATA.NUM_WORKERS', 2).epoch(0):
            break


# Unreadable images

@pytest.mark.parametrize('workers', [0, 2])
def test_in_training_the_next_readable_image_takes_the_place(load, workers):
    clean = labels(load(Numbers(12), True), 1)
    one = load(Numbers(12, bad=[5, 6, 11]), True, 'DATA.NUM_WORKERS', workers)
    wanted = [[{5: 7, 6: 7, 11: 0}.get(i, i) for i in batch] for batch in clean]
    assert labels(one, 1) == wanted
    assert sorted(one.bad_images) == ['11.jpg is empty', '5.jpg is empty', '6.jpg is empty']
    labels(one, 2)
    assert len(one.bad_images) == 3        # each file once


@pytest.mark.parametrize('workers', [0, 2])
def test_more_unreadable_images_than_allowed_stop_training(load, workers):
    one = load(Numbers(40, bad=range(0, 40, 10)), True, 'DATA.NUM_WORKERS', workers, 'DATA.MAX_BAD_IMAGES', 3)
    with pytest.raises(UserError, match=r'4 images cannot be read, more than DATA.MAX_BAD_IMAGES 3; .*\d+\.jpg is empty; '):
        labels(one)


def test_no_unreadable_image_is_allowed_where_the_limit_is_0(load):
    with pytest.raises(UserError, match='1 images cannot be read, more than DATA.MAX_BAD_IMAGES 0'):
        labels(load(Numbers(8, bad=[3]), True, 'DATA.MAX_BAD_IMAGES', 0))


def test_a_data_set_without_a_readable_image_is_an_error(load, within):
    with within(20), pytest.raises(UserError, match=r'no readable image after 6 that are not: \d\.jpg is empty'):
        labels(load(Numbers(6, bad=range(6)), True))
    with within(20), pytest.raises(UserError, match='51 images cannot be read'):
        labels(load(Numbers(600, bad=range(600)), True))


@pytest.mark.parametrize('workers', [0, 2])
def test_in_evaluation_an_unreadable_image_is_an_error_that_names_it(load, workers, within):
    with within(30), pytest.raises(UserError, match='^17.jpg is empty$'):
        labels(load(Numbers(24, bad=[17]), False, 'DATA.NUM_WORKERS', workers))


# Bugs and killed processes

@pytest.mark.parametrize('workers', [0, 1, 2])
@pytest.mark.parametrize('is_train', [True, False])
def test_a_bug_in_the_data_set_surfaces_with_its_traceback_and_does_not_hang(load, within, workers, is_train):
    with within(30), pytest.raises(RuntimeError, match="(?s)loading a batch failed.*in __getitem__.*KeyError: 'the bug at 17'"):
        labels(load(Numbers(24, broken=[17]), is_train, 'DATA.NUM_WORKERS', workers))


@pytest.mark.parametrize('workers', [0, 2])
def test_images_of_different_shapes_are_an_error(load, within, workers):
    class Ragged(Numbers):
        def __getitem__(self, i):
            return np.zeros((3, i + 1, 2), np.float32), np.int64(i)
    with within(30), pytest.raises(RuntimeError, match='(?s)loading a batch failed.*same shape'):
        labels(load(Ragged(8), False, 'DATA.NUM_WORKERS', workers))


@pytest.mark.parametrize('shared', [True, False])
def test_a_killed_worker_is_an_error_and_does_not_hang(load, within, monkeypatch, shared):
    monkeypatch.setattr(loader, '_has_shared_memory', lambda size: shared)
    monkeypatch.setattr('paddle.io.dataloader.dataloader_iter.MP_STATUS_CHECK_INTERVAL', 0.5, raising=False)    # not 5 s
    # Paddle's signal handler raises its SystemError wherever the main process is at that moment, so maybe in this test.
    with within(60), pytest.raises((UserError, SystemError), match='(?i)killed'):
        labels(load(Numbers(64, deadly=[40]), False, 'DATA.NUM_WORKERS', 2))
    gc.collect()                           # Paddle's thread ends here, and not with a message after the tests


@pytest.mark.parametrize('handler', [signal.SIG_DFL, lambda *_: None])
def test_the_process_keeps_its_handler_of_ended_children(load, handler, monkeypatch):
    monkeypatch.setattr('paddle.base.multiprocess_utils._SIGCHLD_handler_set', False)    # as in a new process
    before = signal.signal(signal.SIGCHLD, handler)
    try:
        for _ in load(Numbers(8), True, 'DATA.NUM_WORKERS', 1).epoch(0):
            assert signal.getsignal(signal.SIGCHLD) is handler
        assert signal.getsignal(signal.SIGCHLD) is handler
    finally:
        signal.signal(signal.SIGCHLD, before)


# Settings

def test_a_step_larger_than_the_data_set_is_an_error(load):
    with pytest.raises(UserError, match=r'takes 8 images \(DATA.BATCH_SIZE 4 x 2 processes\), but the data set has 7; '
                                        'set -batch_size 3, which makes 1 step of an epoch'):
        load(Numbers(7), True, rank=0, world_size=2)
    assert len(load(Numbers(3), False)) == 1


def test_the_largest_batch_of_several_sizes_must_fit_into_the_data_set(load):
    sizes = 'TRAIN.MULTI_SCALE', [4, 8], 'TRAIN.MULTI_SCALE_STEP', 4
    with pytest.raises(UserError, match=r'takes 16 images \(DATA.BATCH_SIZE 4, 16 at 4 pixels, x 1 process\), but the data '
                                        'set has 15; set -batch_size 3, which'):
        load(Numbers(15), True, *sizes)
    assert len(load(Numbers(15), True, *sizes, 'DATA.BATCH_SIZE', 3)) == 2


@pytest.mark.parametrize('images, size, steps', [(160, 16, 10), (255, 25, 10), (40, 8, 5), (5, 5, 1), (2000, 200, 10)])
def test_a_batch_that_is_too_large_is_answered_with_one_that_learns(load, images, size, steps):
    with pytest.raises(UserError, match=f'set -batch_size {size}, which makes {steps} steps? of an epoch'):
        load(Numbers(images), True, 'DATA.BATCH_SIZE', 2048)
    assert len(load(Numbers(images), True, 'DATA.BATCH_SIZE', size)) == steps


def test_a_negative_number_of_copies_is_an_error(load):
    with pytest.raises(UserError, match=r'TRAIN\.REPEATED_AUG is -1; wanted 0 to 1000'):
        load(Numbers(8), True, 'TRAIN.REPEATED_AUG', -1)


@pytest.mark.parametrize('key, value', [('BATCH_SIZE', 0), ('BATCH_SIZE_EVAL', -1), ('NUM_WORKERS', -1),
                                        ('MAX_BAD_IMAGES', -1)])
def test_a_number_out_of_range_is_an_error(load, key, value):
    with pytest.raises(UserError, match=rf'DATA\.{key} is {value}; wanted \d (to|or more)'):
        load(Numbers(8), True, f'DATA.{key}', value)


@pytest.mark.parametrize('free, wanted', [(64 << 20, False), (256 << 20, True), (16 << 30, True)])
def test_a_small_shared_memory_is_not_used(load, monkeypatch, free, wanted):
    monkeypatch.setattr(os, 'statvfs', lambda path: types.SimpleNamespace(f_bavail=free // 4096, f_frsize=4096))
    assert load(Numbers(8), True, 'DATA.NUM_WORKERS', 2).use_shared_memory is wanted


def test_shared_memory_must_hold_the_batches_that_wait(load, monkeypatch):
    monkeypatch.setattr(os, 'statvfs', lambda path: types.SimpleNamespace(f_bavail=(1 << 30) // 4096, f_frsize=4096))
    big = ('DATA.IMAGE_SIZE', 224, 'DATA.BATCH_SIZE', 256, 'DATA.NUM_WORKERS', 8)     # 154 MB a batch
    assert load(Numbers(512), True, *big).use_shared_memory is False


def test_without_shared_memory_as_outside_linux_it_is_not_used(load, monkeypatch):
    monkeypatch.setattr(loader, 'SHARED_MEMORY', '/no/where')
    assert load(Numbers(8), True).use_shared_memory is False


# 8-bit images on their way

def test_holes_are_packed_into_one_array_and_come_back(load):
    rng = np.random.default_rng(0)
    holes = [[], [(3, 4, rng.random((3, 2, 5), np.float32))], [], [(0, 1, rng.random((3, 1, 1), np.float32))] * 2]
    found = list(loader.unpack_holes(loader.pack_holes(holes)))
    assert [(number, top, left) for number, (top, left, _) in found] == [(1, 3, 4), (3, 0, 1), (3, 0, 1)]
    np.testing.assert_array_equal(found[0][1][2], holes[1][0][2])
    assert loader.pack_holes([]).size                              # Paddle cannot send an empty array


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('order', ['RGB', 'BGR'])
def test_a_batch_has_the_very_numbers_of_its_images(config, class_folders, tmp_path, workers, order):
    class_folders(tmp_path, {'train/a': 8, 'val/a': 1})
    cfg = config('DATA.DATASET', 'folder', 'DATA.DATA_PATH', str(tmp_path), 'MODEL.NUM_CLASSES', 1, 'DATA.COLOR_ORDER', order,
                 'TRAIN.RANDOM_ERASE_PROB', 0.7, 'TRAIN.RANDOM_ERASE_COUNT', 3, 'DATA.NUM_WORKERS', workers)
    dataset = get_dataset(cfg, True)
    one = get_dataloader(cfg, dataset, True)
    for number, (images, _) in enumerate(one.epoch(2)):
        singly = [dataset.sample(int(index), epoch=2)[0] for index in one.sampler.epoch(2)[number].indices]
        np.testing.assert_array_equal(images.numpy(), np.stack(singly))


@pytest.mark.parametrize('order, channels', [('RGB', 3), ('BGR', 3), ('BGR', 4), ('RGB', 1)])
def test_a_gpu_would_normalize_to_the_same_numbers(order, channels):
    means, deviations = (0.1, 0.2, 0.3, 0.4)[:channels], (0.5, 0.6, 0.7, 0.8)[:channels]
    preprocess = Preprocess(8, 1.0, 'bilinear', means, deviations, channels, order)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, channels), np.uint8)
    on_device = loader.normalize_on_device(paddle.to_tensor(pixels), preprocess)
    np.testing.assert_allclose(on_device.numpy(), preprocess.normalized(pixels), atol=1e-6)
