import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.mobilenet_v2 import MobileNetV2
from tests.networks import empty, outline

# Counted by hand from table 2 of the paper for the widths that have no recording.
PARAMETERS = {'x0_35': 1_677_128, 'x0_5': 1_968_680, 'x0_75': 2_636_424, 'x1_0': 3_504_872, 'x1_4': 6_108_776}
MILLION_MACS = {'x0_35': 59, 'x1_4': 582}  # of the paper's authors


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'mobilenet_v2_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('variant', MILLION_MACS)
def test_costs_the_published_macs(variant):
    assert count_macs(empty(f'mobilenet_v2_{variant}'), 224) / 1e6 == pytest.approx(MILLION_MACS[variant], abs=1)


def test_maps_are_those_of_the_last_block_at_each_stride():
    model = empty('mobilenet_v2_x1_0', features_only=True)
    assert (model.channels, model.strides) == ((16, 24, 32, 96, 320), (2, 4, 8, 16, 32))
    assert [m.shape[1:] for m in model(paddle.rand((1, 3, 64, 96)))] == [
        [16, 32, 48], [24, 16, 24], [32, 8, 12], [96, 4, 6], [320, 2, 3]]


@pytest.mark.parametrize('width, channels', [(0.35, 1280), (1.4, 1792)])
def test_the_last_convolution_widens_but_never_narrows(width, channels):
    model = MobileNetV2(num_classes=2, width=width).eval()
    assert model.forward_features(paddle.rand((1, 3, 32, 32))).shape == [1, channels, 1, 1]


def test_a_block_leaves_its_output_without_activation():
    model = MobileNetV2(num_classes=2, width=0.35).eval()
    assert all(m.min() < 0.0 for m in model.forward_intermediates(paddle.randn((1, 3, 64, 64))))


def test_any_size_of_picture_works():
    model = MobileNetV2(num_classes=2, in_channels=1, width=0.35).eval()
    assert [model(paddle.rand((1, 1, *size))).shape for size in ((1, 1), (33, 50), (160, 128))] == [[1, 2]] * 3


def test_stochastic_depth_grows_and_spares_blocks_without_shortcut():
    model = MobileNetV2(width=0.35, drop_path=0.16)
    rates = [layer.drop_path.p for layer in model.features if hasattr(layer, 'drop_path')]
    assert [i for i, rate in enumerate(rates) if rate] == [2, 4, 5, 7, 8, 9, 11, 12, 14, 15]
    assert rates[2] == pytest.approx(0.02) and rates[15] == pytest.approx(0.15)


def test_dropout_acts_in_training_only():
    model = MobileNetV2(width=0.35, dropout=0.5)
    features = paddle.rand((2, 1280, 2, 2))
    assert (model.forward_head(features) != model.forward_head(features)).any()
    model.eval()
    assert (model.forward_head(features) == model.forward_head(features)).all()


def test_a_width_that_is_not_positive_is_refused():
    with pytest.raises(ic.UserError, match='WIDTH is 0.0'):
        ic.create_model('mobilenet_v2_x1_0', width=0.0)
