import math

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.engine.ema import ModelEma
from image_classification.engine.optim import build_optimizer, decayed_parameters


def train(**values):
    return ic.get_config(None, {f'TRAIN.{key.replace("__", ".")}': value for key, value in values.items()})


class Network(paddle.nn.Layer):
    """y = norm(W x + b), so that there is a weight, a bias and a norm."""

    classifier_layers = ('classifier',)

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


def test_norms_biases_and_the_models_own_exceptions_take_no_decay():
    assert decayed_parameters(Network()) == {'fc.weight'}
    assert decayed_parameters(Network(), no_decay_1d=False) == {name for name, _ in Network().named_parameters()}


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


@pytest.mark.parametrize('optimizer', ['SGD', 'RMSprop', 'AdamW'])
def test_every_parameter_decays_where_the_recipe_says_so(optimizer):
    """Without a gradient, only decay moves a weight."""
    moved = {}
    for spared in (True, False):
        model = Network()
        model.norm.bias.set_value(paddle.ones([4]))
        step_with_zero_gradients(model, build_optimizer(train(OPTIMIZER__NAME=optimizer, NO_DECAY_1D=spared), model))
        moved[spared] = {name for name, p in model.named_parameters() if (p != p.before).any()}
    assert moved == {True: {'fc.weight'}, False: {'fc.weight', 'norm.weight', 'norm.bias', 'tokens'}}  # fc.bias is 0


def step_with_zero_gradients(model, optimizer):
    for parameter in model.parameters():
        parameter.before = parameter.clone()
        parameter.grad = paddle.zeros_like(parameter)
    optimizer.step()


RATES = (0.1, 0.1, 0.05, 0.02, 0.02)


@pytest.mark.parametrize('keys, expected', [
    ({'NAME': 'RMSprop', 'EPS': 1e-3}, [0.354695, -2.329166, 0.660717, 1.280324]),              # timm 1.0.31's RMSpropTF
    ({'NAME': 'SGD', 'NESTEROV': True}, [0.538526, -2.34281, 0.615318, 0.359906]),              # PyTorch 2.14
    ({'NAME': 'AdamW', 'WEIGHT_DECAY': 0.3}, [0.678522, -1.940557, 0.702204, 2.487013])])       # PyTorch 2.14
def test_five_steps_end_where_other_libraries_optimizers_did(keys, expected):
    """Recorded once, with momentum 0.9, decay 0.01 and the rates and gradients that are written here."""
    model = Network()
    keys = dict(keys)
    decay = keys.pop('WEIGHT_DECAY', 0.01)
    cfg = train(WEIGHT_DECAY=decay, **{f'OPTIMIZER__{key}': value for key, value in keys.items()})
    optimizer = build_optimizer(cfg, model)
    weight = model.fc.weight
    weight.set_value(paddle.to_tensor([[1.0, -2.0, 0.5, 3.0]] * 4))
    for t, rate in enumerate(RATES):
        row = [math.sin(t + 1), 2 * math.cos(3 * t), 0.1 * t - 0.25, 5 / (t + 1)]
        weight.grad = paddle.to_tensor([row] * 4, dtype='float32')
        optimizer.set_lr(rate)
        optimizer.step()
    np.testing.assert_allclose(weight.numpy(), [expected] * 4, atol=2e-6)


def test_rmsprop_equals_tensorflows_formula():
    """The average of squares starts at 1, epsilon is inside the root, the rate inside the momentum."""
    cfg = train(OPTIMIZER__NAME='rmsprop', OPTIMIZER__EPS=0.01, OPTIMIZER__ALPHA=0.8, OPTIMIZER__MOMENTUM=0.7, WEIGHT_DECAY=0.5)
    before, after, gradients = step(cfg, rate=0.01, steps=3)
    for name, weight in before.items():
        squares, velocity = 1.0, 0.0
        for gradient in gradients:
            g = gradient[name] + 0.5 * weight * (name == 'fc.weight')
            squares = 0.8 * squares + 0.2 * g ** 2
            velocity = 0.7 * velocity + 0.01 * g / np.sqrt(squares + 0.01)
            weight = weight - velocity
        np.testing.assert_allclose(after[name], weight, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_clipped_to_one_norm_over_all_parameters():
    cfg = train(OPTIMIZER__NAME='SGD', OPTIMIZER__MOMENTUM=0.0, WEIGHT_DECAY=0, GRAD_CLIP=1.0)
    before, after, gradients = step(cfg, rate=1.0)
    norm = math.sqrt(sum((g ** 2).sum() for g in gradients[0].values()))
    for name in before:
        np.testing.assert_allclose(before[name] - after[name], gradients[0][name] / norm, rtol=1e-3, atol=1e-5)


def test_each_number_of_the_gradient_is_clipped_by_value():
    cfg = train(OPTIMIZER__NAME='SGD', OPTIMIZER__MOMENTUM=0.0, WEIGHT_DECAY=0, GRAD_CLIP=0.5, GRAD_CLIP_MODE='value')
    before, after, gradients = step(cfg, rate=1.0)
    for name in before:
        np.testing.assert_allclose(before[name] - after[name], np.clip(gradients[0][name], -0.5, 0.5), rtol=1e-3, atol=1e-5)


class Units(paddle.nn.Layer):
    """One parameter of each kind that adaptive clipping measures differently."""

    classifier_layers = ('head',)

    def __init__(self):
        super().__init__()
        self.fc, self.conv = paddle.nn.Linear(3, 2), paddle.nn.Conv2D(1, 2, 2, bias_attr=False)
        self.head = paddle.nn.Linear(2, 2)

    def no_weight_decay(self):
        return set()


def test_adaptive_clipping_gives_the_gradients_that_timms_gave():
    """Recorded once from timm 1.0.31's adaptive_clip_grad at 0.1; its linear weights are transposed."""
    model = Units()
    cfg = train(OPTIMIZER__NAME='SGD', OPTIMIZER__MOMENTUM=0.0, WEIGHT_DECAY=0, GRAD_CLIP=0.1, GRAD_CLIP_MODE='agc')
    optimizer = build_optimizer(cfg, model)
    optimizer.set_lr(1.0)
    cases = {'fc.weight': (np.array([[0.3, -0.1, 0.2], [0, 0, 0]]).T, np.array([[1, 2, -2], [0.1, 0, 0]]).T,
                           np.array([[0.012472191, 0.024944382, -0.024944382], [1e-4, 0, 0]]).T),
             'fc.bias': (np.array([3, 4]), np.array([6, 8]), np.array([0.3, 0.4])),
             'conv.weight': (np.arange(1, 9).reshape(2, 1, 2, 2) / 10, np.repeat([1e-3, 3.0], 4).reshape(2, 1, 2, 2),
                             np.repeat([1e-3, 0.06595453], 4).reshape(2, 1, 2, 2)),
             'head.weight': (np.ones((2, 2)), np.full((2, 2), 9.0), np.full((2, 2), 9.0))}  # the classifier's stay
    parameters = dict(model.named_parameters())
    for name, (value, gradient, _) in cases.items():
        parameters[name].set_value(value.astype('float32'))
        parameters[name].grad = paddle.to_tensor(gradient.astype('float32'))
    optimizer.step()
    for name, (value, _, clipped) in cases.items():
        np.testing.assert_allclose(value - parameters[name].numpy(), clipped, atol=3e-7, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize('key, value, words', [('GRAD_CLIP_MODE', 'all', 'norm, value or agc'),
                                               ('LAYER_DECAY', 0.0, 'above 0')])
def test_a_value_that_means_nothing_is_named(key, value, words):
    with pytest.raises(ic.UserError, match=f'TRAIN.{key} is .*{words}'):
        build_optimizer(train(**{key: value}), Network())


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ic.UserError, match="'Adam'; wanted AdamW, SGD or RMSprop"):
        build_optimizer(train(OPTIMIZER__NAME='Adam'), Network())


def test_the_moving_average_follows_its_formula():
    model = Network()
    ema = ModelEma(model, 0.5)
    value = model.fc.weight.numpy()
    for i in range(1, 15):
        model.fc.weight.set_value(model.fc.weight + 1.0)
        ema.update(i)
        d = min(0.5, (1 + i) / (10 + i))
        value = d * value + (1 - d) * model.fc.weight.numpy()
    np.testing.assert_allclose(ema.state_dict()['fc.weight'].numpy(), value, rtol=1e-5)


def test_without_warm_up_the_moving_average_has_one_decay():
    model = Network()
    ema = ModelEma(model, 0.9, warmup=False)
    start = model.fc.weight.numpy()
    model.fc.weight.set_value(model.fc.weight + 1.0)
    ema.update(1)
    np.testing.assert_allclose(ema.state_dict()['fc.weight'].numpy(), start + 0.1, rtol=1e-5)


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
    ema.update(1)
    with ema.applied_to(model):
        assert ema.state_dict() == {}
