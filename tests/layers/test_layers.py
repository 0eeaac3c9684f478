import numpy as np
import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.layers import DropPath, FeatureExtractor, conv_bn
from image_classification.layers import depthwise


def pair(seed, *conv):
    """A convolution and a batch norm with statistics that matter, in float64."""
    paddle.seed(seed)
    conv = nn.Conv2D(*conv[:2], **conv[2])
    bn = nn.BatchNorm2D(conv.weight.shape[0])
    for tensor in (bn.weight, bn.bias, bn._mean, conv.bias):
        tensor.set_value(paddle.randn(tensor.shape))
    bn._variance.set_value(paddle.rand(bn._variance.shape) + 0.5)
    return conv, bn


CONVOLUTIONS = [(6, 8, {'kernel_size': 1, 'groups': 2}), (6, 6, {'kernel_size': 3, 'padding': 1, 'groups': 6}),
                (6, 6, {'kernel_size': 5, 'stride': 2, 'padding': 2, 'groups': 6}),
                (6, 6, {'kernel_size': [3, 1], 'stride': [2, 1], 'padding': [1, 0], 'groups': 6}),
                (6, 6, {'kernel_size': 3, 'padding': 2, 'dilation': 2, 'groups': 6}),
                (6, 12, {'kernel_size': 3, 'padding': 'SAME', 'groups': 6}),
                (3, 4, {'kernel_size': 3, 'stride': 2, 'padding': 1})]


@pytest.mark.parametrize('conv', CONVOLUTIONS)
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('size', [(7, 9), (16, 15)])
def test_conv_bn_equals_the_two_layers_in_values_gradients_and_statistics(conv, training, size, float64):
    results = []
    for function in (lambda x, c, b: b(c(x)), conv_bn):
        c, b = pair(1, *conv)
        b.training = training
        x = paddle.to_tensor(np.random.default_rng(0).standard_normal((3, conv[0], *size)), stop_gradient=False)
        y = function(x, c, b)
        (y * paddle.arange(y.size, dtype='float64').reshape(y.shape)).sum().backward()
        results.append([y, x.grad, c.weight.grad, c.bias.grad, b.weight.grad, b.bias.grad, b._mean, b._variance])
    for plain, fast in zip(*results):
        scale = max(abs(plain).max().item(), 1.0)
        np.testing.assert_allclose(fast.numpy(), plain.numpy(), atol=1e-7 * scale)


def test_small_depthwise_convolutions_take_the_fast_form(monkeypatch):
    conv, bn = pair(0, 4, 4, {'kernel_size': 3, 'padding': 1, 'groups': 4})
    monkeypatch.setattr(depthwise.F, 'conv2d', None)               # calling it would raise
    assert conv_bn(paddle.rand((2, 4, 12, 12)), conv, bn).shape == [2, 4, 12, 12]


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    paddle.seed(0)
    y = DropPath(0.25)(paddle.ones((4000, 2, 3)))
    np.testing.assert_allclose(np.unique(y.numpy()), [0.0, 1 / 0.75], rtol=1e-6)
    assert (y == y[:, :1, :1]).all() and y.mean().item() == pytest.approx(1.0, abs=0.05)


def test_drop_path_is_the_identity_in_evaluation():
    layer = DropPath(0.9)
    layer.eval()
    assert (layer(paddle.ones((8, 2))) == 1).all()


def test_feature_maps_have_the_announced_channels_and_strides():
    model = ic.create_model('mobileformer_26m', features_only=True, out_indices=(1, 2, -1)).eval()
    maps = model(paddle.rand((2, 3, 64, 96)))
    assert model.channels == (12, 24, 96) and model.strides == (4, 8, 32)
    assert [tuple(m.shape) for m in maps] == [(2, c, 64 // s, 96 // s) for c, s in zip(model.channels, model.strides)]


@pytest.mark.parametrize('indices', [(5,), (-6,), ()])
def test_levels_that_do_not_exist_are_refused(indices):
    with pytest.raises(ic.UserError, match='out_indices'):
        FeatureExtractor(ic.create_model('mobileformer_26m'), indices)
