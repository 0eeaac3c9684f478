"""Mixup and CutMix against the formulas, in numpy."""
import numpy as np
import paddle
import pytest

from image_classification.datasets import Mixup
from image_classification.errors import UserError

B, K, H, W = 6, 5, 16, 20


def batch():
    images = np.random.RandomState(0).rand(B, 3, H, W).astype(np.float32)
    return images, np.array([0, 1, 2, 3, 4, 0])


def mix(seed=0, **options):
    options = {'mixup_alpha': 0.0, 'cutmix_alpha': 0.0, 'cutmix_minmax': [], 'prob': 1.0, 'switch_prob': 0.5, 'smoothing': 0.1,
               'num_classes': K, **options}
    images, labels = batch()
    images, targets = Mixup(**options)(paddle.to_tensor(images), paddle.to_tensor(labels), np.random.default_rng(seed))
    assert images.dtype == targets.dtype == paddle.float32
    return images.numpy(), targets.numpy()


def smoothed(smoothing=0.1):
    return np.eye(K)[batch()[1]] * (1 - smoothing) + smoothing / K


def share(targets):
    """lam of the first sample, whose label is 0 and whose partner's label is 0 too, of the second otherwise."""
    return (targets[1, 1] - 0.1 / K) / 0.9                         # labels 1 and 4: the own one has lam of the 0.9


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_without_mixing_images_stay_and_targets_are_smoothed(smoothing):
    images, targets = mix(smoothing=smoothing)
    np.testing.assert_array_equal(images, batch()[0])
    np.testing.assert_allclose(targets, smoothed(smoothing), atol=1e-6)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize('seed', range(5))
def test_mixup_is_the_weighted_mean_with_the_reversed_batch(seed):
    images, targets = mix(seed, mixup_alpha=0.8)
    lam, own = share(targets), batch()[0]
    assert 0 <= lam <= 1
    np.testing.assert_allclose(images, own * lam + own[::-1] * (1 - lam), atol=1e-5)
    np.testing.assert_allclose(targets, smoothed() * lam + smoothed()[::-1] * (1 - lam), atol=1e-6)


@pytest.mark.parametrize('options', [{'cutmix_alpha': 1.0}, {'cutmix_minmax': [0.2, 0.8]}])
@pytest.mark.parametrize('seed', range(8))
def test_cutmix_pastes_a_rectangle_and_weighs_labels_by_its_area(seed, options):
    images, targets = mix(seed, **options)
    own = batch()[0]
    pasted = (images != own).any((0, 1))                           # (H, W)
    assert pasted.sum() == pasted.any(1).sum() * pasted.any(0).sum()
    np.testing.assert_array_equal(images, np.where(pasted, own[::-1], own))
    np.testing.assert_allclose(share(targets), 1 - pasted.mean(), atol=1e-5)


def test_minmax_bounds_the_sides_of_the_rectangle():
    for seed in range(60):
        pasted = (mix(seed, cutmix_minmax=[0.25, 0.5])[0] != batch()[0]).any((0, 1))
        assert 4 <= pasted.any(1).sum() <= 8 and 5 <= pasted.any(0).sum() <= 10


def test_the_share_follows_the_beta_distribution():
    shares = [share(mix(seed, mixup_alpha=0.2)[1]) for seed in range(300)]
    assert abs(np.mean(shares) - 0.5) < 0.07
    assert abs(np.var(shares) - 1 / (4 * (2 * 0.2 + 1))) < 0.03


@pytest.mark.parametrize('prob', [0.0, 0.4, 1.0])
def test_a_batch_is_mixed_with_the_asked_probability(prob):
    mixed = np.mean([(mix(seed, mixup_alpha=1.0, prob=prob)[0] != batch()[0]).any() for seed in range(300)])
    assert abs(mixed - prob) < 0.09


@pytest.mark.parametrize('switch_prob', [0.0, 0.3, 1.0])
def test_where_both_are_on_cutmix_has_the_switch_probability(switch_prob):
    def is_cutmix(seed):
        images = mix(seed, mixup_alpha=1.0, cutmix_alpha=1.0, switch_prob=switch_prob)[0]
        own = batch()[0]
        return ((images == own) | (images == own[::-1])).all()
    assert abs(np.mean([is_cutmix(seed) for seed in range(200)]) - switch_prob) < 0.1


def test_the_same_generator_gives_the_same_batch():
    for first, second in zip(mix(3, mixup_alpha=0.8, cutmix_alpha=1.0), mix(3, mixup_alpha=0.8, cutmix_alpha=1.0)):
        np.testing.assert_array_equal(first, second)


def test_the_argument_is_not_changed():
    images = paddle.to_tensor(batch()[0])
    Mixup(0.0, 1.0, [], 1.0, 0.5, 0.1, K)(images, paddle.to_tensor(batch()[1]), np.random.default_rng(1))
    np.testing.assert_array_equal(images.numpy(), batch()[0])


def test_from_config_reads_the_train_keys(config):
    mixup = Mixup.from_config(config('TRAIN.MIXUP_ALPHA', 0.2, 'TRAIN.CUTMIX_MINMAX', [0.2, 0.8], 'TRAIN.SMOOTHING', 0.2))
    assert (mixup.mixup_alpha, list(mixup.cutmix_minmax), mixup.smoothing, mixup.num_classes) == (0.2, [0.2, 0.8], 0.2, 10)


@pytest.mark.parametrize('key, value', [('MIXUP_ALPHA', -1.0), ('CUTMIX_ALPHA', -1.0), ('CUTMIX_MINMAX', [0.5]),
                                        ('CUTMIX_MINMAX', [0.5, 1.5]), ('CUTMIX_MINMAX', [0.8, 0.2]), ('MIXUP_PROB', 2.0),
                                        ('MIXUP_SWITCH_PROB', -1.0), ('SMOOTHING', 1.0)])
def test_a_bad_value_is_an_error_that_names_its_key(config, key, value):
    with pytest.raises(UserError, match=rf'TRAIN\.{key} is .*; wanted '):
        Mixup.from_config(config(f'TRAIN.{key}', value))


# A draw for each pair, or for each image

def loop(mode, seed, prob=0.8, switch=0.5, count=B):
    """The mixed batch of `count` images image by image, mixup_alpha 0.4 and cutmix_alpha 1, as its definition says."""
    random, (images, labels) = np.random.default_rng(seed), batch()
    images, labels = images[:count], labels[:count]
    mixed, targets = images.copy(), np.eye(K)[labels] * 0.9 + 0.1 / K
    own = targets.copy()
    for i in range(count if mode == 'elem' else count // 2):
        if random.random() >= prob:
            continue
        cutmix = random.random() < switch
        lam = random.beta(1.0, 1.0) if cutmix else random.beta(0.4, 0.4)
        if cutmix:
            h, w = int(H * (1 - lam) ** 0.5), int(W * (1 - lam) ** 0.5)
            y, x = random.integers(H), random.integers(W)
            rows = slice(max(0, y - h // 2), min(H, y - h // 2 + h))
            columns = slice(max(0, x - w // 2), min(W, x - w // 2 + w))
            lam = 1 - len(range(H)[rows]) * len(range(W)[columns]) / (H * W)
        for a, b in ((i, count - 1 - i), (count - 1 - i, i))[:1 if mode == 'elem' else 2]:
            if cutmix:
                mixed[a][:, rows, columns] = images[b][:, rows, columns]
            else:
                mixed[a] = lam * images[a] + (1 - lam) * images[b]
            targets[a] = lam * own[a] + (1 - lam) * own[b]
    return mixed, targets


@pytest.mark.parametrize('mode', ['pair', 'elem'])
@pytest.mark.parametrize('count', [1, 2, 5, 6])
def test_a_mode_is_its_plain_loop_over_the_images(mode, count):
    for seed in range(25):
        mixup = Mixup(0.4, 1.0, [], 0.8, 0.5, 0.1, K, mode)
        images, labels = (paddle.to_tensor(part[:count]) for part in batch())
        images, targets = mixup(images, labels, np.random.default_rng(seed))
        assert images.dtype == targets.dtype == paddle.float32
        for got, wanted in zip((images, targets), loop(mode, seed, count=count)):
            np.testing.assert_allclose(got.numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize('mode, equal', [('batch', True), ('pair', False), ('elem', False)])
def test_only_the_mode_batch_has_one_share_for_all_images(mode, equal):
    images = mix(4, mixup_alpha=1.0, mode=mode)[0]
    own = batch()[0]
    shares = [np.linalg.lstsq((own[i] - own[B - 1 - i]).reshape(-1, 1), (images[i] - own[B - 1 - i]).reshape(-1),
                              rcond=None)[0][0] for i in range(B)]
    assert bool(np.ptp(shares) < 1e-5) is equal
    if mode != 'elem':
        np.testing.assert_allclose(shares, shares[::-1], atol=1e-5)


@pytest.mark.parametrize('mode', ['pair', 'elem'])
def test_each_image_of_a_mode_is_mixed_with_the_asked_probability(mode):
    own = batch()[0]
    mixed = np.mean([(mix(seed, mixup_alpha=1.0, prob=0.4, mode=mode)[0] != own).any((1, 2, 3)) for seed in range(200)])
    assert abs(mixed - 0.4) < 0.08


def test_minmax_bounds_the_sides_of_every_rectangle():
    for seed in range(20):
        pasted = (mix(seed, cutmix_minmax=[0.25, 0.5], mode='elem')[0] != batch()[0]).any(1)   # (B, H, W)
        assert (pasted.any(2).sum(1) >= 4).all() and (pasted.any(2).sum(1) <= 8).all()


def test_the_mode_is_a_key(config):
    assert Mixup.from_config(config('TRAIN.MIXUP_MODE', 'elem', 'TRAIN.MIXUP_ALPHA', 1.0)).mix.__name__ == '_mix_images'
    with pytest.raises(UserError, match=r"TRAIN\.MIXUP_MODE is 'half'; wanted batch, pair or elem"):
        Mixup.from_config(config('TRAIN.MIXUP_MODE', 'half'))
