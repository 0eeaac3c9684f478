import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.engine.losses import build_criterion

# Recorded once from timm 1.0.31: SoftTargetCrossEntropy, BinaryCrossEntropy, the same with sum_classes.
LOGITS, TARGETS = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], [[0.7, 0.2, 0.1], [0.0, 0.1, 0.9]]
RECORDED = {'ce': 2.4102404, 'bce': 1.1198771, 'bce, sum': 3.3596313}


def criterion(**values):
    return build_criterion(ic.get_config(None, {f'TRAIN.{key}': value for key, value in values.items()}), [])


def loss(outputs, **values):
    return float(criterion(**values)(outputs, paddle.to_tensor(TARGETS), images=None))


@pytest.mark.parametrize('name, keys', [('ce', {}), ('bce', {'LOSS': 'bce'}), ('bce, sum', {'LOSS': 'bce', 'BCE_SUM': True})])
def test_losses_equal_those_that_timm_gave(name, keys):
    assert loss(paddle.to_tensor(LOGITS), **keys) == pytest.approx(RECORDED[name], rel=1e-6)


@pytest.mark.parametrize('summed, count', [(False, 6), (True, 2)])
def test_binary_cross_entropy_equals_its_formula(summed, count):
    x, y = np.array(LOGITS), np.array(TARGETS)
    p = 1 / (1 + np.exp(-x))
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum() / count
    assert loss(paddle.to_tensor(LOGITS), LOSS='bce', BCE_SUM=summed) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('kind', ['ce', 'bce'])
def test_auxiliary_heads_are_added_with_their_weight(kind):
    main, aux = (paddle.to_tensor(LOGITS) * factor for factor in (1.0, -2.0))
    parts = [loss(head, LOSS=kind) for head in (main, aux)]
    assert loss([main, aux, aux], LOSS=kind, AUX_LOSS_WEIGHT=0.4) == pytest.approx(parts[0] + 0.8 * parts[1], rel=1e-6)


def test_logits_of_half_precision_are_compared_in_float32():
    assert loss(paddle.to_tensor(LOGITS).astype('float16')) == pytest.approx(RECORDED['ce'], rel=1e-6)


def test_an_unknown_loss_is_named():
    with pytest.raises(ic.UserError, match="TRAIN.LOSS is 'mse'; wanted ce or bce"):
        criterion(LOSS='mse')


@pytest.mark.parametrize('name', ['googlenet', 'inception_v3'])
def test_auxiliary_heads_of_a_network_get_gradients(name):
    model = ic.create_model(name, num_classes=3)
    model.train()
    outputs = model(paddle.randn([2, 3, 96, 96]))
    criterion()(outputs, paddle.to_tensor(TARGETS), images=None).backward()
    heads = [p for n, p in model.named_parameters() if n.startswith(('aux', 'AuxLogits')) and not p.stop_gradient]
    assert heads and all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in heads)
