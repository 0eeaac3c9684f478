import paddle
import paddle.nn.functional as F
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.mobilenet_v3 import MobileNetV3
from image_classification.mobilenet_v3.model import InvertedResidual, SqueezeExcitation
from tests.networks import empty, outline

# Counted by hand from tables 1 and 2 of the paper for the widths that have no recording; the MACs are published.
PARAMETERS = {'large_x0_75': 3_993_528, 'large_x1_0': 5_483_032, 'small_x0_5': 1_592_704, 'small_x0_75': 2_041_872,
              'small_x1_0': 2_542_856}
MILLION_MACS = {'large_x0_75': 155, 'small_x0_5': 21}


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'mobilenet_v3_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('variant', MILLION_MACS)
def test_costs_the_published_macs(variant):
    assert count_macs(empty(f'mobilenet_v3_{variant}'), 224) / 1e6 == pytest.approx(MILLION_MACS[variant], abs=1)


@pytest.mark.parametrize('variant, count', [('large_x0_75', 3_377_576), ('small_x0_75', 1_653_920), ('small_x0_5', 917_264),
                                            ('small_x1_0', 2_542_856)])
def test_torchvisions_rule_narrows_the_head_and_each_number_of_the_table(variant, count):
    with paddle.LazyGuard():
        model = ic.create_model(f'mobilenet_v3_{variant}', width_rule='torchvision')
    assert count_parameters(model) == count


@pytest.mark.parametrize('variant, channels, levels', [
    ('large', (16, 24, 40, 112, 160), [1, 3, 6, 12, 15]), ('small', (16, 16, 24, 48, 96), [0, 1, 3, 8, 11])])
def test_maps_are_those_of_the_last_block_at_each_stride(variant, channels, levels):
    model = empty(f'mobilenet_v3_{variant}_x1_0', features_only=True)
    assert (model.channels, model.strides, model.network.levels) == (channels, (2, 4, 8, 16, 32), levels)
    maps = model(paddle.rand((1, 3, 64, 96)))
    assert [m.shape for m in maps] == [[1, c, 64 // s, 96 // s] for c, s in zip(channels, model.strides)]


@pytest.mark.parametrize('arch, gated, swish', [('large', [4, 5, 6, 11, 12, 13, 14, 15], 7), ('small', [1, *range(4, 12)], 4)])
def test_gates_and_hard_swish_are_where_the_paper_has_them(arch, gated, swish):
    with paddle.LazyGuard():
        blocks = list(MobileNetV3(arch=arch).features)
    layers = [[type(layer).__name__ for layer in block.sublayers()] for block in blocks]
    assert [i for i, names in enumerate(layers) if 'SqueezeExcitation' in names] == gated
    assert [i for i, names in enumerate(layers) if 'Hardswish' in names] == [0, *range(swish, len(blocks))]


def test_the_gate_is_a_hard_sigmoid_of_the_squeezed_means(float64):
    layer, x = SqueezeExcitation(72), paddle.rand((2, 72, 3, 3))
    assert layer.fc1.weight.shape == [24, 72, 1, 1]                # a quarter is 18, the next multiple of 8 above 90 % of it 24
    gate = layer.fc2(F.relu(layer.fc1(x.mean([2, 3], keepdim=True))))
    assert abs(layer(x) - x * (gate + 3.0).clip(0.0, 6.0) / 6.0).max() < 1e-15


def test_batch_norms_have_the_papers_constants():
    norms = [layer for layer in MobileNetV3(arch='small').sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert {(norm._momentum, norm._epsilon) for norm in norms} == {(0.99, 0.001)}


def test_any_size_of_picture_works():
    model = MobileNetV3(num_classes=2, in_channels=1, arch='small', width=0.5).eval()
    assert [model(paddle.rand((1, 1, *size))).shape for size in ((1, 1), (33, 50), (160, 128))] == [[1, 2]] * 3


def test_stochastic_depth_grows_and_spares_blocks_without_shortcut():
    blocks = [layer for layer in MobileNetV3(arch='small', drop_path=0.2).features if isinstance(layer, InvertedResidual)]
    assert [i for i, block in enumerate(blocks) if block.drop_path.p] == [2, 4, 5, 7, 9, 10]
    assert blocks[10].drop_path.p == pytest.approx(0.2)


def test_dropout_acts_in_training_only():
    model = MobileNetV3(arch='small', width=0.5, dropout=0.5)
    features = paddle.rand((2, 288, 2, 2))
    assert (model.forward_head(features) != model.forward_head(features)).any()
    model.eval()
    assert (model.forward_head(features) == model.forward_head(features)).all()


@pytest.mark.parametrize('key, value, words', [
    ('arch', 'medium', "ARCH is 'medium'; wanted large or small"), ('width', 0.0, 'WIDTH is 0.0'),
    ('width_rule', 'keras', "WIDTH_RULE is 'keras'; wanted paper or torchvision")])
def test_choices_that_do_not_exist_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model('mobilenet_v3_small_x1_0', **{key: value})
