from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import image_classification as ic
from image_classification.blazeface.model import BACK, BlazeBlock, convolution
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.weights import from_torch

PROJECT = Path(__file__).resolve().parents[2]
NAMES = ['blazeface', 'blazeface_front', 'blazeface_back']


@pytest.mark.parametrize('name, count, macs', [
    ('blazeface', 59_760, 32.68), ('blazeface_front', 101_390, 30.76), ('blazeface_back', 136_240, 188.75)])
def test_has_the_parameters_and_macs_of_its_source(name, count, macs):
    model = ic.create_model(name)
    assert count_parameters(model) == count
    assert count_macs(model, model.config.DATA.IMAGE_SIZE) == pytest.approx(1e6 * macs, rel=1e-3)


@pytest.mark.parametrize('name, channels, strides', [
    ('blazeface', (96, 96), (8, 16)), ('blazeface_front', (88, 96), (8, 16)), ('blazeface_back', (96, 96), (16, 32))])
def test_gives_maps_of_16_and_8_pixels_at_its_own_size(name, channels, strides):
    model = ic.create_model(name, features_only=True).eval()
    size = model.network.config.DATA.IMAGE_SIZE
    maps = model(paddle.rand((2, 3, size, size)))
    assert (model.channels, model.strides) == (channels, strides)
    assert [m.shape for m in maps] == [[2, channels[0], 16, 16], [2, channels[1], 8, 8]]


def test_the_extractor_gives_its_maps_and_the_last_of_them_is_its_features():
    model, x = ic.create_model('blazeface').eval(), paddle.rand((1, 3, 128, 128))
    maps = model(x)
    assert [m.shape for m in maps] == [[1, 96, 16, 16], [1, 96, 8, 8]] and (model.forward_features(x) == maps[1]).all()


def test_the_extractor_has_five_single_and_six_double_blocks_of_depthwise_5x5_convolutions():
    model = ic.create_model('blazeface')
    blocks = [layer for layer in model.sublayers() if isinstance(layer, BlazeBlock)]
    kernels = [[layer.weight.shape for layer in block.sublayers() if isinstance(layer, nn.Conv2D)] for block in blocks]
    assert [len(shapes) for shapes in kernels] == [2] * 5 + [4] * 6
    assert kernels[4] == [[48, 1, 5, 5], [48, 48, 1, 1]]
    assert kernels[5] == [[48, 1, 5, 5], [24, 48, 1, 1], [24, 1, 5, 5], [96, 24, 1, 1]]


def test_a_shortcut_takes_the_largest_of_four_pixels_and_adds_channels_of_zeros():
    block, x = BlazeBlock(convolution, 3, 0.0, 4, 6, stride=2), paddle.rand((2, 4, 8, 10))
    for parameter in block.parameters():
        parameter.set_value(paddle.zeros(parameter.shape))
    y = block(x)
    assert (y[:, :4] == x.reshape([2, 4, 4, 2, 5, 2]).max([3, 5])).all() and (y[:, 4:] == 0).all() and y.shape == [2, 6, 4, 5]


@pytest.mark.parametrize('kernel, pad', [(5, [1, 2, 1, 2]), (3, [0, 1, 0, 1])])
def test_a_convolution_of_stride_2_is_padded_below_and_right_rather(kernel, pad):
    conv, x = convolution(3, 4, kernel, 2), paddle.rand((1, 3, 12, 16))
    wanted = F.conv2d(F.pad(x, pad), conv.weight, conv.bias, 2)
    np.testing.assert_allclose(conv(x).numpy(), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_takes_any_size_from_its_last_stride_up(name):
    model = ic.create_model(name, features_only=True).eval()
    smallest = model.strides[-1]
    for height, width in ((smallest, smallest), (97, 130)):
        maps = model(paddle.rand((1, 3, height, width)))
        assert [m.shape[2:] for m in maps] == [[height // stride, width // stride] for stride in model.strides]
    with pytest.raises(ic.UserError, match=f'at least {smallest} x {smallest} pixels, found {smallest} x {smallest - 1}'):
        model(paddle.rand((1, 3, smallest, smallest - 1)))


def test_a_detector_network_gives_as_many_rows_as_anchors():
    for name, size, count in (('blazeface_front', 128, 896), ('blazeface_back', 256, 896), ('blazeface_front', 256, 4 * 896)):
        regressors, classifiers = ic.create_model(name)(paddle.rand((2, 3, size, size)))
        assert (regressors.shape, classifiers.shape) == ([2, count, 16], [2, count, 1])


def test_a_row_belongs_to_one_pixel_and_one_box():
    """The finer map's pixels come first, line by line, two boxes each; then the coarser one's, six each."""
    model = ic.create_model('blazeface_front').eval()
    finer, coarser = maps = [paddle.rand((1, 88, 16, 16)), paddle.rand((1, 96, 8, 8))]
    model.forward_intermediates = lambda x: maps
    regressors, classifiers = model(None)
    wanted = model.regressor_8(finer)[0, 16:, 3, 5]
    np.testing.assert_allclose(regressors[0, 2 * (3 * 16 + 5) + 1].numpy(), wanted.numpy(), atol=1e-5)
    wanted = model.classifier_16(coarser)[0, 4, 6, 7]
    np.testing.assert_allclose(classifiers[0, 512 + 6 * (6 * 8 + 7) + 4, 0].numpy(), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_has_neither_head_nor_classifier(name):
    model = ic.create_model(name)
    assert model.classifier_layers == () and model.no_weight_decay() == set()
    for question in (lambda: model.reset_classifier(5), lambda: model.forward_head(None)):
        with pytest.raises(ic.UserError, match='BlazeFace has no classifier|BlazeFace computes no logits'):
            question()


def test_the_back_network_bears_the_published_names():
    state = ic.create_model('blazeface_back').state_dict()
    depthwise = [f'backbone.{2 + i}.convs.0.weight' for i in range(len(BACK[0]))] + ['final.convs.0.weight']
    assert [name for name, tensor in state.items() if tensor.shape[1:] == [1, 3, 3]] == depthwise
    assert {name.split('.')[0] for name in state} == {'backbone', 'final', 'classifier_8', 'classifier_16', 'regressor_8',
                                                      'regressor_16'}
    assert state['backbone.0.weight'].shape == [24, 3, 5, 5] and state['backbone.32.convs.1.weight'].shape == [96, 96, 1, 1]


def test_published_weights_may_have_their_anchors_beside_them():
    model = ic.create_model('blazeface_back')
    published = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert from_torch(model, {**published, 'anchors': np.zeros((896, 4))}).keys() == published.keys()


def test_all_batch_norms_of_the_extractor_are_folded():
    fused = ic.fuse(ic.create_model('blazeface'))
    assert not [layer for layer in fused.sublayers() if isinstance(layer, nn.BatchNorm2D)]


def test_stochastic_depth_acts_in_training_only():
    model, x = ic.create_model('blazeface_front', drop_path=0.5), paddle.rand((4, 3, 64, 64))
    assert (model(x)[1] != model(x)[1]).any()
    model.eval()
    assert (model(x)[1] == model(x)[1]).all()


def test_two_steps_of_training_bring_the_scores_nearer_to_their_targets():
    paddle.seed(0)
    model, x = ic.create_model('blazeface_front'), paddle.rand((8, 3, 64, 64))
    wanted = (paddle.rand((8, 224, 1)) > 0.5).astype('float32')
    optimizer, losses = paddle.optimizer.AdamW(1e-3, parameters=model.parameters()), []
    for _ in range(3):
        losses.append(F.binary_cross_entropy_with_logits(model(x)[1], wanted))
        losses[-1].backward()
        optimizer.step()
        optimizer.clear_grad()
    assert losses[0] > losses[1] > losses[2]


def test_an_unknown_network_is_named():
    with pytest.raises(ic.UserError, match="NETWORK is 'side'; wanted paper, front or back"):
        ic.create_model(ic.get_config('blazeface', {'MODEL.BLAZEFACE.NETWORK': 'side'}))
