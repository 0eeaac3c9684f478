"""The optional operators in C++, against the plain code. Compiling them takes half a minute, so these tests are slow ones:

    python -m pytest -m slow tests/cpu/test_operators.py
"""
import shutil
from functools import lru_cache

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.cpu import build_operators, operators
from image_classification.cpu.training_step import Joiner, LongAdamW
from image_classification.engine.ema import ModelEma
from image_classification.errors import UserError
from image_classification.layers import Conv2D, LayerNorm, LayerNorm2D, Linear, dynamic_relu, gelu, hardswish

from tests.cpu.test_convolution import assert_close, backward, images


@pytest.fixture(scope='session')
def built(tmp_path_factory):
    """The operators, compiled and loaded into this process; nothing takes them unless a test says so."""
    if shutil.which('g++') is None:
        pytest.skip('no C++ compiler on this machine')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PADDLE_MOBILE_BACKBONES_HOME', str(tmp_path_factory.mktemp('cache')))
        patch.delenv('PADDLE_MOBILE_BACKBONES_OPERATORS')
        build_operators.build()
        assert operators.loaded.__wrapped__()


@pytest.fixture
def taken(built, monkeypatch):
    monkeypatch.setattr(operators, 'loaded', lambda: True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, in which the operators may lie; returns where."""
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_HOME', str(tmp_path))
    monkeypatch.delenv('PADDLE_MOBILE_BACKBONES_OPERATORS')
    library = operators.library_path()
    library.parent.mkdir(parents=True)
    return library


SHAPES = [  # kernel, stride, padding, size
    (3, 1, 1, (28, 28)), (3, 2, 1, (28, 27)), (5, 1, 2, (14, 9)), (5, 2, 2, (14, 14)), (7, 1, 3, (7, 7)), (9, 1, 4, (8, 8)),
    (7, 1, 3, (2, 3)), (3, 1, 0, (9, 9)), (3, 2, 0, (10, 12)), (2, 3, 0, (8, 9)), (3, 1, 4, (5, 5)), (1, 2, 0, (5, 6)),
    ([3, 1], [2, 1], [1, 0], (9, 8)), ([1, 3], [1, 2], [0, 1], (9, 8)), (3, 2, 'SAME', (28, 27)), (5, 2, 'SAME', (14, 9)),
    (3, 1, [2, 0, 0, 1], (8, 9)), (4, 1, 'SAME', (7, 6))]


@pytest.mark.parametrize('switch, compiler, wanted', [('1', '/usr/bin/g++', True), ('0', '/usr/bin/g++', False), ('1', None, False)])
def test_they_are_built_in_the_background_where_they_are_of_use_and_loaded_once(switch, compiler, wanted, cache, monkeypatch):
    built, loads = [], []
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OPERATORS', switch)
    monkeypatch.setattr(build_operators.shutil, 'which', lambda name: compiler)
    monkeypatch.setattr(build_operators, 'build', lambda: built.append(1))
    monkeypatch.setattr(operators, 'loaded', lru_cache(lambda: bool(loads.append(1) or built)))
    ready = build_operators.build_in_background()
    assert [ready(), ready()] == [wanted, wanted] and bool(built) is wanted
    assert len(loads) == 1 + wanted                                # Paddle names what it has loaded once only


def test_what_fails_to_build_in_the_background_is_done_without(cache, monkeypatch):
    def build():
        raise UserError('no headers')
    monkeypatch.setattr(build_operators.shutil, 'which', lambda name: '/usr/bin/g++')
    monkeypatch.setattr(build_operators, 'build', build)
    monkeypatch.setattr(operators, 'loaded', lru_cache(lambda: False))
    assert build_operators.build_in_background()() is False


@pytest.mark.slow
@pytest.mark.parametrize('kernel, stride, padding, size', SHAPES)
def test_depthwise_convolutions_equal_the_plain_ones(kernel, stride, padding, size, built, monkeypatch):
    results = []
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        paddle.seed(0)
        conv, x = Conv2D(5, 5, kernel, stride, padding, groups=5), images(3, 5, *size)
        y = conv(x)
        backward(y)
        results.append([y, x.grad, conv.weight.grad, conv.bias.grad])
    assert_close(*results, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('with_offsets', [True, False])
@pytest.mark.parametrize('size', [(1, 1), (7, 7), (9, 31)])
def test_a_dynamic_relu_equals_the_plain_one(with_offsets, size, built, monkeypatch):
    rng, results = np.random.default_rng(0), []
    tensors = [rng.standard_normal(shape).astype('float32') for shape in [(3, 5, *size)] + [(3, 5, 1, 1)] * 4]
    tensors[0][0] = 0.0                                            # without offsets both lines meet here
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        x, *rest = leaves = [paddle.to_tensor(t, stop_gradient=False) for t in tensors]
        y = dynamic_relu(x, rest[:2], rest[2:] if with_offsets else None)
        backward(y)
        results.append([y, *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    assert_close(*results, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(8, 16, 9, 9), (3, 5, 7, 7), (2, 1, 1, 3)])
def test_gelu_and_the_norm_of_channels_equal_the_plain_ones(shape, built, monkeypatch):
    results = []
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        x, norm = 3 * images(*shape).detach(), LayerNorm2D(shape[1], epsilon=1e-6)
        x.stop_gradient = False
        norm.weight.set_value(paddle.linspace(0.5, 2, shape[1]))
        y = norm(gelu(x))
        backward(y)
        results.append([y, x.grad, norm.weight.grad, norm.bias.grad])
    assert_close(*results, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(64, 3, 128), (2, 3, 4, 13), (40, 5), (1, 8), (3, 1)])
def test_the_norm_of_the_last_axis_equals_the_plain_one(shape, built, monkeypatch):
    results = []
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        x, norm = 3 * images(*shape).detach() + 5, LayerNorm(shape[-1], epsilon=1e-5)
        x.stop_gradient = False
        norm.weight.set_value(paddle.linspace(0.5, 2, shape[-1]))
        y = norm(x.transpose([1, 0, *range(2, x.ndim)])) if x.ndim > 2 else norm(x)      # rows that are not adjacent
        backward(y)
        results.append([y, x.grad, norm.weight.grad, norm.bias.grad])
    assert_close(*results, 2e-5)


@pytest.mark.slow
def test_a_hard_swish_equals_paddles(built, monkeypatch):
    results = []
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        x = paddle.linspace(-5, 5, 1003)
        x.stop_gradient = False
        y = hardswish(x)
        backward(y)
        results.append([y, x.grad])
    assert_close(*results, 1e-6)
    np.testing.assert_array_equal(results[0][0].numpy(), results[1][0].numpy())    # a gradient checkpoint may compute both


@pytest.mark.slow
def test_gelu_of_large_numbers_and_of_none(taken):
    x = paddle.to_tensor([-1e30, -100.0, -14.0, 0.0, 14.0, 1e30, float('nan')])
    np.testing.assert_array_equal(gelu(x), [0, 0, 0, 0, 14, np.float32(1e30), np.nan])


@pytest.mark.slow
def test_views_that_are_not_contiguous_are_taken(built, monkeypatch):
    results = []
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        paddle.seed(0)
        conv, x = Conv2D(4, 4, 3, padding=1, groups=4), images(2, 6, 6, 4)
        y = conv(x.transpose([0, 3, 1, 2])).transpose([0, 2, 3, 1])
        backward(y)
        results.append([y, x.grad, conv.weight.grad])
    assert_close(*results, 2e-5)


@pytest.mark.slow
def test_float64_takes_the_plain_code(taken, float64):
    conv = Conv2D(4, 4, 3, padding=1, groups=4)
    assert conv(images(2, 4, 9, 9)).dtype == paddle.float64


@pytest.mark.slow
@pytest.mark.parametrize('limit', [None, 0.5, 1e6])
def test_adamw_in_one_pass_gives_paddles_weights_and_state(limit, built, monkeypatch):
    states = []
    for kind in (paddle.optimizer.AdamW, LongAdamW):
        paddle.seed(0)
        parameters = [paddle.create_parameter([size], 'float32', default_initializer=paddle.nn.initializer.Normal())
                      for size in (70001, 3)]
        parameters[1].optimize_attr['learning_rate'] = 0.1
        clip = limit and paddle.nn.ClipGradByGlobalNorm(limit)
        optimizer = kind(0.01, beta1=0.8, parameters=parameters, weight_decay=0.5, grad_clip=clip,
                         apply_decay_param_fun=lambda name: name == parameters[0].name)
        for step in range(3):
            for parameter in parameters:
                parameter.grad = paddle.randn(parameter.shape) * (step + 1)
            optimizer.set_lr(0.01 / (step + 1))
            optimizer.step()
        state = {name.partition('_moment')[2] or name.partition('_beta')[2]: value for name, value in optimizer.state_dict().items()
                 if name.startswith(parameters[0].name)}
        states.append([*(parameter.detach() for parameter in parameters), *(state[key] for key in sorted(state) if key)])
    assert len(states[0]) == len(states[1]) == 6                   # two moments, two powers
    assert_close(*states, 2e-6)


@pytest.mark.slow
def test_a_moving_average_in_one_pass_is_that_of_its_formula(taken):
    model = ic.create_model('mobileformer_26m', num_classes=5)
    ema = ModelEma(model, 0.9, warmup=False)
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    for value in model.state_dict().values():
        value.set_value(value + paddle.randn(value.shape))
    ema.update(1)
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(ema.average[name].numpy(), 0.9 * before[name] + 0.1 * value.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mobileformer_26m', 'mobileformer_official_26m', 'mobilenet_v3_small_x0_5', 'mobilevit_xxs', 'lcnet_x0_25'])
def test_networks_train_as_without_operators(name, built, monkeypatch):
    results = []
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        paddle.seed(0)
        model = ic.create_model(name, num_classes=5, dropout=0.0)
        logits = model(images(4, 3, 64, 64))
        backward(logits)
        results.append([logits, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert_close([results[0][0]], [results[1][0]], 1e-4)
    found, wanted = (paddle.concat([tensor.flatten() for tensor in one]) for one in results)
    assert (found - wanted).norm() < 1e-3 * wanted.norm()


@pytest.mark.slow
def test_an_export_holds_no_operator_of_ours(taken):
    model = ic.create_model('mobileformer_26m').eval()
    spec = paddle.static.InputSpec([-1, 3, 64, 64], 'float32')
    program = paddle.jit.to_static(model, input_spec=[spec], full_graph=True).forward.concrete_program.main_program
    assert not [op.name() for op in program.global_block().ops if 'mobile_backbones' in op.name()]


def test_without_a_library_the_plain_code_runs_and_nothing_is_said(cache, recwarn):
    assert not operators.loaded.__wrapped__() and not list(recwarn)


@pytest.mark.parametrize('with_digest', [True, False])
def test_a_damaged_library_is_warned_of_and_not_taken(with_digest, cache):
    cache.write_bytes(b'no library')
    operators.digest_path(cache).write_text(operators.digest(cache) if with_digest else '0' * 64)
    with pytest.warns(UserWarning, match='image_classification.cpu.build_operators'):
        assert not operators.loaded.__wrapped__()


def test_an_environment_variable_switches_them_off(cache, monkeypatch, recwarn):
    cache.write_bytes(b'no library')
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OPERATORS', '0')
    assert not operators.loaded.__wrapped__() and not list(recwarn)


def test_a_failed_compilation_leaves_nothing_and_says_why(cache, tmp_path, monkeypatch):
    source = tmp_path / 'broken.cc'
    source.write_text('this is no C++;')
    monkeypatch.setattr(operators, 'SOURCE', source)
    with pytest.raises(ic.UserError, match='wanted a C[+][+] compiler'):
        build_operators.build()
    assert not list(cache.parent.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize('shapes', [[(3, 4), (5,), (2, 1, 2)], [(100000,)]])
def test_tensors_are_joined_in_memory_that_is_kept(shapes, taken):
    join, addresses = Joiner(), set()
    for _ in range(2):
        tensors = [paddle.randn(shape) for shape in shapes]
        joined = join(tensors)
        addresses.add(joined.data_ptr())
        np.testing.assert_array_equal(joined, np.concatenate([tensor.numpy().ravel() for tensor in tensors]))
    assert len(addresses) == 1


@pytest.mark.slow
def test_tensors_with_strides_are_joined_too(taken):
    matrix = paddle.arange(12, dtype='float32').reshape([3, 4])
    np.testing.assert_array_equal(Joiner()([matrix.transpose([1, 0]), matrix[0]]), [*matrix.numpy().T.ravel(), 0, 1, 2, 3])


@pytest.mark.slow
@pytest.mark.parametrize('kernel, groups, size', [(1, 1, (14, 13)), (1, 2, (3, 3)), (3, 4, (7, 9)), (3, 1, (5, 5))])
def test_a_bias_added_in_place_equals_the_plain_one(kernel, groups, size, built, monkeypatch):
    results = []
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        paddle.seed(0)
        conv, x = Conv2D(4, 4, kernel, padding=kernel // 2, groups=groups), images(3, 4, *size)
        conv.bias.set_value(paddle.linspace(-1, 2, 4))
        y = conv(x)
        backward(x + y + conv(y))                                  # its gradient is needed twice
        results.append([y, x.grad, conv.weight.grad, conv.bias.grad])
        with paddle.no_grad():
            results[-1].append(conv(x))
    assert_close(*results, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(5000, 4), (3, 1500, 5), (2, 9, 100, 13)])
def test_a_bias_of_tokens_equals_the_plain_one(shape, built, monkeypatch):
    results = []
    for loaded in (True, False):
        monkeypatch.setattr(operators, 'loaded', lambda loaded=loaded: loaded)
        paddle.seed(0)
        layer, x = Linear(shape[-1], 7), images(*shape)
        layer.bias.set_value(paddle.linspace(-1, 2, 7))
        y = layer(x)
        backward(y)
        results.append([y, x.grad, layer.weight.grad, layer.bias.grad])
    assert_close(*results, 2e-5)
