"""Which images come into which batch of which process, at which size: repeated augmentation and several sizes."""
from collections import Counter

import numpy as np
import pytest

from image_classification.datasets.sampler import EvalSampler, TrainSampler, batches_by_size, progressive_sides
from image_classification.errors import UserError

SIZES = {160: 10, 192: 6, 224: 5, 256: 4, 288: 3, 320: 2}          # 4 images at 256 pixels


def sampler(count=1000, batches=None, copies=0, seed=3, rank=0, world_size=1):
    return TrainSampler(count, batches or {8: 4}, copies, seed, rank, world_size)


def ranks(world_size, **options):
    return [sampler(rank=rank, world_size=world_size, **options) for rank in range(world_size)]


def seen(samplers, epoch):
    """[(index, copy)] of an epoch, all processes together."""
    return [pair for one in samplers for batch in one.epoch(epoch) for pair in zip(batch.indices, batch.copies)]


# Of both kinds

@pytest.mark.parametrize('options', [{}, {'copies': 3}, {'batches': SIZES}, {'batches': SIZES, 'copies': 3}])
def test_an_epoch_depends_on_seed_and_epoch_only(options):
    def text(epoch, **more):
        return str([[part.tolist() for part in batch[:2]] + [batch.size] for batch in sampler(**options, **more).epoch(epoch)])
    assert text(2) == text(2) and len({text(1), text(2), text(2, seed=4)}) == 3


@pytest.mark.parametrize('options', [{}, {'copies': 3}, {'batches': SIZES}, {'batches': SIZES, 'copies': 4}])
@pytest.mark.parametrize('count', [30, 61, 500])
@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_its_length_is_that_of_every_epoch_in_every_process(options, count, world_size):
    processes = ranks(world_size, count=count, **options)
    lengths = {len(one.epoch(epoch)) for one in processes for epoch in range(8)}
    assert lengths == {len(processes[0])} and min(lengths) > (count < 60 and world_size == 3) - 1
    for steps in zip(*(one.epoch(5) for one in processes)):
        assert len({(batch.size, len(batch.indices), len(batch.copies)) for batch in steps}) == 1


@pytest.mark.parametrize('options', [{'copies': 3, 'count': 100}, {'copies': 4, 'count': 101}])
@pytest.mark.parametrize('world_size', [2, 3, 4])
def test_a_step_of_several_processes_holds_the_images_of_one_large_batch(options, world_size):
    large = sampler(batches={8: 4 * world_size}, **options).epoch(1)
    for one, *parts in zip(large, *(process.epoch(1) for process in ranks(world_size, **options))):
        together = sorted((i, copy) for part in parts for i, copy in zip(part.indices, part.copies))
        assert together == sorted(zip(one.indices, one.copies))


# Repeated augmentation, as DeiT's

@pytest.mark.parametrize('copies', [0, 1])
def test_without_repetition_each_image_comes_once(copies):
    assert seen([sampler(copies=copies)], 0) == [(i, 0) for i in np.random.default_rng([3, 0]).permutation(1000)]


@pytest.mark.parametrize('copies', [2, 3, 4])
@pytest.mark.parametrize('world_size', [1, 2, 4])
def test_an_epoch_has_as_many_steps_as_without_but_fewer_images(copies, world_size):
    processes = ranks(world_size, copies=copies, count=960)
    assert len(processes[0]) == len(sampler(world_size=world_size, count=960)) == 240 // world_size
    pairs = seen(processes, 1)
    assert set(Counter(index for index, _ in pairs).values()) == {copies}
    assert len(set(pairs)) == 960                                  # the copies of an image have numbers of their own
    assert len({index for epoch in range(60) for index, _ in seen(processes, epoch)}) == 960    # each has its turn


def test_the_copies_of_an_image_go_to_different_processes_in_the_same_step():
    for steps in zip(*(one.epoch(2) for one in ranks(4, copies=4))):
        assert all(sorted(copies) == [0, 1, 2, 3] for copies in zip(*(batch.copies for batch in steps)))
        assert all(len(set(row)) == 1 for row in zip(*(batch.indices for batch in steps)))


# Several sizes

@pytest.mark.parametrize('count', [30, 31, 59, 60, 61, 300, 1000])
@pytest.mark.parametrize('world_size', [1, 2])
def test_no_image_comes_twice_in_an_epoch_and_hardly_any_is_left_out(count, world_size):
    for epoch in range(5):
        indices = [index for index, _ in seen(ranks(world_size, batches=SIZES, count=count), epoch)]
        assert len(set(indices)) == len(indices) > count - 2 * 10 * world_size


@pytest.mark.parametrize('world_size', [1, 2])
def test_sizes_come_equally_often_and_in_another_order_in_each_epoch(world_size):
    epochs = [[batch.size for batch in sampler(batches=SIZES, world_size=world_size).epoch(epoch)] for epoch in range(3)]
    for sizes in epochs:
        counts = Counter(sizes)
        assert set(counts) == set(SIZES) and max(counts.values()) - min(counts.values()) <= 1
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_has_the_number_of_images_of_its_size():
    assert all(len(batch.indices) == SIZES[batch.size] for batch in sampler(batches=SIZES).epoch(0))


@pytest.mark.parametrize('batch_size', [4, 32, 256])
def test_the_pixels_of_a_batch_stay_constant_and_never_exceed_the_configured_ones(config, batch_size):
    train = config('TRAIN.MULTI_SCALE', [160, 320]).TRAIN
    sizes = batches_by_size(train, batch_size, 256)
    assert list(sizes) == [160, 192, 224, 256, 288, 320] and sizes[256] == batch_size
    for side, count in sizes.items():
        assert count * side ** 2 <= batch_size * 256 ** 2 < (count + 1) * side ** 2


def test_the_batch_size_is_meant_for_the_size_of_training(config):
    assert batches_by_size(config('TRAIN.IMAGE_SIZE', 64).TRAIN, 16, 128) == {64: 16}
    several = config('TRAIN.IMAGE_SIZE', 64, 'TRAIN.MULTI_SCALE', [32, 96]).TRAIN
    assert batches_by_size(several, 16, 128) == {32: 64, 64: 16, 96: 7}
    assert batches_by_size(config().TRAIN, 16, 128) == {128: 16}


def test_the_step_between_sizes_is_a_key(config):
    train = config('TRAIN.MULTI_SCALE', [32, 60], 'TRAIN.MULTI_SCALE_STEP', 10).TRAIN
    assert list(batches_by_size(train, 16, 32)) == [32, 42, 52]


@pytest.mark.parametrize('pairs, message', [
    (('TRAIN.MULTI_SCALE', [320]), r'MULTI_SCALE is \[320\]; wanted \[\] or \[least, most\]'),
    (('TRAIN.MULTI_SCALE', [320, 160]), 'wanted .* whole number from 1'), (('TRAIN.MULTI_SCALE', [0, 160]), 'wanted'),
    (('TRAIN.MULTI_SCALE', [0.5, 1.5]), 'wanted'), (('TRAIN.MULTI_SCALE', ['a', 'b']), 'wanted'),
    (('TRAIN.MULTI_SCALE', [160, 320], 'TRAIN.MULTI_SCALE_STEP', 0), 'MULTI_SCALE_STEP is 0; wanted 1'),
    (('TRAIN.MULTI_SCALE', [224, 500]), 'DATA.BATCH_SIZE is 4 at 224 pixels, .* 480 pixels .* set -batch_size 5 or more')])
def test_a_bad_range_of_sizes_is_an_error(config, pairs, message):
    with pytest.raises(UserError, match=message):
        batches_by_size(config(*pairs).TRAIN, 4, 224)


# Evaluation

def test_evaluation_has_no_copies_and_one_size():
    batches = EvalSampler(11, 4, 9, 1, 2).epoch(5)
    assert [batch.indices.tolist() for batch in batches] == [[1, 3, 5, 7], [9]]
    assert all((batch.copies == 0).all() and batch.size == 9 for batch in batches)


def test_progressive_sizes_take_equal_parts_of_the_epochs(config):
    train = config('TRAIN.PROGRESSIVE_SIZES', [32, 40, 48], 'TRAIN.NUM_EPOCHS', 7).TRAIN
    side_of = progressive_sides(train)
    assert [side_of(epoch) for epoch in range(8)] == [32, 32, 32, 40, 40, 48, 48, 48]
    plain, grown = (TrainSampler(20, {48: 4}, 1, 0, 0, 1, side_of) for side_of in (None, side_of))
    for ours, other in zip(grown.epoch(3), plain.epoch(3)):
        assert (ours.size, other.size) == (40, 48) and (ours.indices == other.indices).all()
    assert progressive_sides(config().TRAIN) is None


@pytest.mark.parametrize('epochs, sides', [(1, [48]), (2, [40, 48]), (3, [32, 40, 48])])
def test_few_epochs_leave_out_sizes_but_never_the_last_one(config, epochs, sides):
    side_of = progressive_sides(config('TRAIN.PROGRESSIVE_SIZES', [32, 40, 48, 48], 'TRAIN.NUM_EPOCHS', epochs).TRAIN)
    assert [side_of(epoch) for epoch in range(epochs)] == sides


@pytest.mark.parametrize('values, message', [
    (('TRAIN.PROGRESSIVE_SIZES', [32, 48], 'TRAIN.MULTI_SCALE', [32, 64]), r'wanted \[\] beside TRAIN.MULTI_SCALE \[32, 64\]'),
    (('TRAIN.PROGRESSIVE_SIZES', [32, 0]), 'PROGRESSIVE_SIZES')])
def test_progressive_sizes_that_make_no_sense_are_refused(config, values, message):
    with pytest.raises(UserError, match=message):
        progressive_sides(config(*values).TRAIN)
