"""The forms that convolutions take on a CPU, against Paddle's own."""
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import image_classification as ic
from image_classification.layers import Conv2D, Stage, set_checkpointing
from image_classification.cpu import convolution
from image_classification.cpu import depthwise
from image_classification.cpu.convolution import as_product, conv_bn

POINTWISE = [(6, 8, {'kernel_size': 1}), (6, 8, {'kernel_size': 1, 'groups': 2}), (6, 8, {'kernel_size': 1, 'stride': 2}),
             (6, 8, {'kernel_size': 1, 'padding': 1}), (6, 6, {'kernel_size': 1, 'groups': 6})]
DEPTHWISE = [(6, 6, {'kernel_size': 3, 'padding': 1}), (6, 6, {'kernel_size': 5, 'stride': 2, 'padding': 2}),
             (6, 6, {'kernel_size': [3, 1], 'stride': [2, 1], 'padding': [1, 0]}), (6, 6, {'kernel_size': 7, 'padding': 3}),
             (6, 6, {'kernel_size': 9, 'padding': 4}), (6, 6, {'kernel_size': [1, 3], 'padding': [0, 1]}),
             (6, 6, {'kernel_size': 3, 'padding': 0}), (6, 6, {'kernel_size': 3, 'padding': 3}),
             (6, 6, {'kernel_size': 3, 'padding': 2, 'dilation': 2}), (6, 12, {'kernel_size': 3, 'padding': 'SAME'}),
             (6, 6, {'kernel_size': 3, 'padding': [1, 2, 0, 1]}), (6, 12, {'kernel_size': 3, 'padding': 1}),
             (6, 6, {'kernel_size': 3, 'padding': 1, 'padding_mode': 'reflect'}),
             (6, 6, {'kernel_size': 5, 'stride': 2, 'padding': 'SAME'})]
OTHERS = [(3, 4, {'kernel_size': 3, 'stride': 2, 'padding': 1}), (6, 4, {'kernel_size': 3, 'padding': 1}),
          (4, 4, {'kernel_size': [1, 5], 'padding': [0, 2]}), (5, 4, {'kernel_size': 3, 'padding': [1, 2, 0, 1]}),
          (4, 4, {'kernel_size': 3, 'padding': 3}), (4, 6, {'kernel_size': 3, 'padding': 1})]
CONVOLUTIONS = POINTWISE + [(c_in, c_out, {'groups': 6, **rest}) for c_in, c_out, rest in DEPTHWISE] + OTHERS


def pair(conv, layer=nn.Conv2D):
    """A convolution and a batch norm with statistics that matter."""
    paddle.seed(1)
    conv = layer(*conv[:2], **conv[2])
    bn = nn.BatchNorm2D(conv.weight.shape[0])
    for tensor in (bn.weight, bn.bias, bn._mean, conv.bias):
        tensor.set_value(paddle.randn(tensor.shape))
    bn._variance.set_value(paddle.rand(bn._variance.shape) + 0.5)
    return conv, bn


def images(*shape):
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape).astype(paddle.get_default_dtype()),
                            stop_gradient=False)


def backward(y):
    """Gradients of a sum in which each number has a weight of its own."""
    (y * paddle.cos(paddle.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum().backward()


def assert_close(found, wanted, tolerance):
    for one, other in zip(found, wanted, strict=True):
        scale = max(abs(other).max().item(), 1.0)
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=tolerance * scale)


def run(layer, conv, size, batch=3):
    """Output, and gradients of input, weight and bias."""
    conv, _ = pair(conv, layer)
    x = images(batch, conv._in_channels, *size)
    y = conv(x)
    backward(y)
    return [y, x.grad, conv.weight.grad, conv.bias.grad]


@pytest.mark.parametrize('conv', CONVOLUTIONS)
@pytest.mark.parametrize('size', [(7, 9), (16, 15), (30, 31)])
def test_a_convolution_equals_paddles_in_value_and_gradients(conv, size, float64):
    assert_close(run(Conv2D, conv, size), run(nn.Conv2D, conv, size), 1e-12)


@pytest.mark.parametrize('conv', [POINTWISE[0], POINTWISE[1], CONVOLUTIONS[5], CONVOLUTIONS[6]])
@pytest.mark.parametrize('size', [(1, 1), (3, 3), (7, 7), (28, 28)])
def test_they_agree_in_float32(conv, size):
    assert_close(run(Conv2D, conv, size, 8), run(nn.Conv2D, conv, size, 8), 1e-5)


@pytest.mark.parametrize('conv', CONVOLUTIONS)
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('size', [(7, 9), (16, 15)])
def test_conv_bn_equals_the_two_layers_in_values_gradients_and_statistics(conv, training, size, float64):
    results = []
    for function in (lambda x, c, b: b(c(x)), conv_bn):
        c, b = pair(conv)
        b.training = training
        x = images(3, conv[0], *size)
        y = function(x, c, b)
        backward(y)
        results.append([y, x.grad, c.weight.grad, c.bias.grad, b.weight.grad, b.bias.grad, b._mean, b._variance])
    assert_close(results[1], results[0], 1e-7)


def test_the_gradient_of_a_dense_convolution_is_one_where_that_is_faster(monkeypatch):
    monkeypatch.setattr(convolution, 'with_fast_gradient', refuse)
    for c_in, c_out, size, training in ((4, 4, 27, True), (4, 5, 28, True), (4, 4, 28, False)):
        conv = Conv2D(c_in, c_out, 3, padding=1)
        conv.training = training
        conv(paddle.zeros([1, c_in, size, size]))
    with pytest.raises(Refused):
        Conv2D(4, 4, 3, padding=1)(paddle.zeros([1, 4, 28, 28]))


class Refused(Exception):
    pass


def refuse(*_args, **_options):
    raise Refused


@pytest.mark.parametrize('channels, kernel, stride, size, batch, as_matrices', [
    (4, 3, 1, 7, 1, True), (4, 3, 1, 8, 1, False), (4, 3, 1, 12, 8, True), (4, 3, 1, 14, 8, False), (4, 3, 2, 14, 8, True),
    (4, 5, 1, 14, 8, False), (4, 5, 1, 14, 16, True), (4, 5, 1, 20, 8, False), (4, 7, 1, 16, 8, False),
    (1536, 3, 1, 12, 32, False)])
def test_depthwise_convolutions_of_small_maps_are_matrix_products(channels, kernel, stride, size, batch, as_matrices,
                                                                  monkeypatch):
    conv = Conv2D(channels, channels, kernel, stride, kernel // 2, groups=channels)
    monkeypatch.setattr(depthwise, '_as_matrices' if as_matrices else 'with_fast_gradient', refuse)
    with pytest.raises(Refused):
        conv(paddle.zeros([batch, channels, size, size]))


@pytest.mark.parametrize('groups, size, as_product',
                         [(1, 1, True), (1, 10, True), (1, 11, False), (2, 28, True), (4, 11, False)])
def test_1x1_convolutions_of_small_maps_or_in_groups_are_matrix_products(groups, size, as_product, monkeypatch):
    monkeypatch.setattr(convolution, '_pointwise', refuse)
    conv = Conv2D(4, 8, 1, groups=groups)
    if as_product:
        with pytest.raises(Refused):
            conv(paddle.zeros([2, 4, size, size]))
    else:
        conv(paddle.zeros([2, 4, size, size]))


@pytest.mark.parametrize('conv', [POINTWISE[1], CONVOLUTIONS[5]])
def test_an_export_holds_plain_convolutions(conv):
    model, _ = pair(conv, Conv2D)
    spec = paddle.static.InputSpec([-1, 6, 7, 7], 'float32')
    static = paddle.jit.to_static(model.eval(), input_spec=[spec], full_graph=True)
    names = [op.name() for op in static.forward.concrete_program.main_program.global_block().ops]
    assert any('conv2d' in name for name in names) and not any('matmul' in name for name in names)


@pytest.mark.parametrize('conv', POINTWISE[:2])
@pytest.mark.parametrize('size', [(1, 1), (7, 9), (16, 15)])
def test_a_convolution_as_a_product_is_one_in_an_export_too_and_the_norm_takes_its_bias(conv, size):
    conv, bn = pair(conv, Conv2D)
    model, x = nn.Sequential(conv, bn).eval(), images(3, 6, *size)
    expected = model(x)
    as_product(conv, bn)
    static = paddle.jit.to_static(model, input_spec=[paddle.static.InputSpec([-1, 6, -1, -1], 'float32')], full_graph=True)
    names = [op.name() for op in static.forward.concrete_program.main_program.global_block().ops]
    assert 'pd_op.matmul' in names and not any('conv2d' in name for name in names) and conv.bias is None
    assert_close([static(x)], [expected], 1e-5)


@pytest.mark.parametrize('conv', [POINTWISE[0], CONVOLUTIONS[5]])
@pytest.mark.parametrize('size', [7, 30])
def test_hooks_run_in_the_fast_forms(conv, size):
    conv, bn = pair(conv, Conv2D)
    seen = []
    conv.register_forward_pre_hook(lambda layer, inputs: seen.append('before'))
    conv.register_forward_post_hook(lambda layer, inputs, output: seen.append(output))
    x = images(3, 6, size, size)
    conv(x)
    conv_bn(x, conv, bn)
    assert seen[0] == seen[2] == 'before'
    assert_close(seen[1::2], [F.conv2d(x, conv.weight, conv.bias, padding=conv._padding, groups=conv._groups)] * 2, 1e-5)


def test_what_is_frozen_gets_no_gradient():
    for frozen in ('weight', 'input'):
        conv, _ = pair(CONVOLUTIONS[5], Conv2D)
        x = images(2, 6, 30, 30)
        (x if frozen == 'input' else conv.weight).stop_gradient = True
        backward(conv(x))
        assert (x.grad is None) == (frozen == 'input') and (conv.weight.grad is None) == (frozen == 'weight')


def test_a_frozen_convolution_of_a_frozen_input_has_no_gradient():
    conv, _ = pair(CONVOLUTIONS[5], Conv2D)
    conv.weight.stop_gradient = conv.bias.stop_gradient = True
    assert conv(paddle.zeros([2, 6, 30, 30])).stop_gradient


def test_gradient_checkpoints_give_the_same_gradients():
    results = []
    for checkpointing in (False, True):
        paddle.seed(0)
        stage = Stage(*[nn.Sequential(Conv2D(6, 6, 3, padding=1, groups=6), nn.BatchNorm2D(6)) for _ in range(3)])
        set_checkpointing(stage, checkpointing)
        x = images(2, 6, 30, 30)
        backward(stage(x))
        results.append([x.grad, *(p.grad for p in stage.parameters() if not p.stop_gradient)])
    for plain, saving in zip(*results, strict=True):
        assert (plain == saving).all()


@pytest.mark.parametrize('name', ['mobilenet_v2_x0_35', 'mobileformer_26m', 'shufflenet_v1_g3_x0_5', 'efficientvit_m0'])
def test_networks_train_as_with_paddles_convolutions(name, monkeypatch, float64):
    """One step in float64: loss, and the gradient of every parameter."""
    results = []
    for takes in (lambda x, conv: False, convolution.has_fast_form):
        monkeypatch.setattr(convolution, 'has_fast_form', takes)
        paddle.seed(0)
        model = ic.create_model(name, num_classes=5)
        backward(model(images(2, 3, 64, 64)))
        results.append({key: p.grad for key, p in model.named_parameters() if p.grad is not None})
    assert results[0].keys() == results[1].keys()
    assert_close(results[1].values(), results[0].values(), 1e-5)


@pytest.mark.parametrize('conv', CONVOLUTIONS)
@pytest.mark.parametrize('asked', ['input', 'weight'])
def test_in_evaluation_paddle_grad_gives_the_one_gradient_that_is_asked_for(conv, asked):
    found = []
    for layer in (Conv2D, nn.Conv2D):
        made, _ = pair(conv, layer)
        made.eval()
        x = images(3, conv[0], 40, 40)
        found.append(paddle.grad((made(x) ** 2).sum(), x if asked == 'input' else made.weight))
    assert_close(*found, 1e-5)
