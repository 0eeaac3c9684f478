import math

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.engine.ema import ModelEma
from image_classification.engine.optim import build_optimizer, decayed_parameters, learning_rate, rate_scale


def train(**values):
    return ic.get_config(None, {f'TRAIN.{key.replace("__", ".")}': value for key, value in values.items()})


class Network(paddle.nn.Layer):
    """y = norm(W x + b), so that there is a weight, a bias and a norm."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = paddle.nn.Linear(4, 4), paddle.nn.LayerNorm(4)
        self.tokens = self.create_parameter([1, 2, 4])

    def no_weight_decay(self):
        return {'tokens'}

    def forward(self, x):
        return self.norm(self.fc(x)).sum() + self.tokens.sum()


def step(cfg, rate=0.1, steps=1):
    """Parameters before and after, and gradients, of a training with a constant rate."""
    paddle.seed(0)
    model = Network()
    optimizer = build_optimizer(cfg, model)
    optimizer.set_lr(rate)
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    gradients = []
    for i in range(steps):
        (model(paddle.arange(8.0).reshape([2, 4]) + i) * 100).backward()
        gradients.append({name: p.grad.numpy().copy() for name, p in model.named_parameters()})
        optimizer.step()
        optimizer.clear_grad()
    return before, {name: p.numpy() for name, p in model.named_parameters()}, gradients


def test_the_rate_warms_up_linearly_and_ends_the_cosine_at_the_last_step():
    cfg = train(BASE_LR=1.0, WARMUP_START_LR=0.2, END_LR=0.1, WARMUP_EPOCHS=2, NUM_EPOCHS=6).TRAIN
    rates = [learning_rate(step, 5, cfg) for step in range(30)]
    np.testing.assert_allclose(rates[:10], np.linspace(0.2, 1.0, 11)[:-1])
    np.testing.assert_allclose(rates[10:], [0.1 + 0.9 * (1 + math.cos(math.pi * i / 19)) / 2 for i in range(20)])
    assert rates[-1] == pytest.approx(0.1)


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert learning_rate(0, 1, train(BASE_LR=0.5, WARMUP_EPOCHS=0, NUM_EPOCHS=1).TRAIN) == 0.5


def test_the_rate_scales_with_the_total_batch():
    cfg = ic.get_config(None, {'TRAIN.LINEAR_SCALED_LR': 1024, 'DATA.BATCH_SIZE': 64, 'TRAIN.ACCUM_ITER': 2})
    assert rate_scale(cfg, world_size=4) == 0.5
    assert rate_scale(train(LINEAR_SCALED_LR=0), world_size=4) == 1.0


def test_norms_biases_and_the_models_own_exceptions_take_no_decay():
    assert decayed_parameters(Network()) == {'fc.weight'}


def test_adamw_equals_the_formula_of_its_paper():
    """Loshchilov & Hutter 2019, algorithm 2, three steps."""
    before, after, gradients = step(train(WEIGHT_DECAY=0.5, OPTIMIZER__EPS=1e-8), steps=3)
    for name, weight in before.items():
        m = v = 0.0
        for t, gradient in enumerate(gradients, 1):
            m, v = 0.9 * m + 0.1 * gradient[name], 0.999 * v + 0.001 * gradient[name] ** 2
            weight = weight * (1 - 0.1 * 0.5 * (name == 'fc.weight'))
            weight = weight - 0.1 * (m / (1 - 0.9 ** t)) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
        np.testing.assert_allclose(after[name], weight, atol=2e-4)


@pytest.mark.parametrize('nesterov', [False, True])
def test_sgd_equals_the_formula_with_momentum_and_decay(nesterov):
    cfg = train(OPTIMIZER__NAME='sgd', OPTIMIZER__MOMENTUM=0.8, OPTIMIZER__NESTEROV=nesterov, WEIGHT_DECAY=0.5)
    before, after, gradients = step(cfg, rate=0.01, steps=3)
    weights, velocity = dict(before), {name: 0.0 for name in before}
    for gradient in gradients:
        for name in weights:
            g = gradient[name] + 0.5 * weights[name] * (name == 'fc.weight')
            velocity[name] = 0.8 * velocity[name] + g
            weights[name] = weights[name] - 0.01 * (g + 0.8 * velocity[name] if nesterov else velocity[name])
    for name in weights:
        np.testing.assert_allclose(after[name], weights[name], rtol=1e-4, atol=1e-4)


def test_the_gradient_is_clipped_to_one_norm_over_all_parameters():
    cfg = train(OPTIMIZER__NAME='SGD', OPTIMIZER__MOMENTUM=0.0, WEIGHT_DECAY=0, GRAD_CLIP=1.0)
    before, after, gradients = step(cfg, rate=1.0)
    norm = math.sqrt(sum((g ** 2).sum() for g in gradients[0].values()))
    for name in before:
        np.testing.assert_allclose(before[name] - after[name], gradients[0][name] / norm, rtol=1e-3, atol=1e-5)


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ic.UserError, match="'Adam'; wanted AdamW or SGD"):
        build_optimizer(train(OPTIMIZER__NAME='Adam'), Network())


def test_the_moving_average_follows_its_formula():
    model = Network()
    ema = ModelEma(model, 0.5)
    value = model.fc.weight.numpy()
    for i in range(1, 15):
        model.fc.weight.set_value(model.fc.weight + 1.0)
        ema.update(model, i)
        d = min(0.5, (1 + i) / (10 + i))
        value = d * value + (1 - d) * model.fc.weight.numpy()
    np.testing.assert_allclose(ema.state_dict()['fc.weight'].numpy(), value, rtol=1e-5)


def test_the_moving_average_is_lent_to_the_model_and_taken_back():
    model = Network()
    ema = ModelEma(model, 0.5)
    model.fc.weight.set_value(model.fc.weight * 0 + 3.0)
    with ema.applied_to(model):
        assert not (model.fc.weight == 3.0).all()
    assert (model.fc.weight == 3.0).all()


def test_a_disabled_moving_average_does_nothing():
    model = Network()
    ema = ModelEma(model, 0.5, enabled=False)
    ema.update(model, 1)
    with ema.applied_to(model):
        assert ema.state_dict() == {}
