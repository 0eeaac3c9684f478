import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.mobilenet_v1 import MobileNetV1
from tests.networks import empty, outline

# Counted by hand from table 1 of the paper for the widths that have no recording.
PARAMETERS = {'x0_25': 470_072, 'x0_5': 1_331_592, 'x0_75': 2_585_560, 'x1_0': 4_231_976, 'x1_25': 6_270_840}
MILLION_MACS = {'x0_25': 41, 'x1_25': 880}


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'mobilenet_v1_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('variant', MILLION_MACS)
def test_costs_the_published_macs(variant):
    assert count_macs(empty(f'mobilenet_v1_{variant}'), 224) / 1e6 == pytest.approx(MILLION_MACS[variant], abs=1)


def test_maps_are_the_ends_of_the_five_stages():
    model = ic.create_model('mobilenet_v1_x0_5', features_only=True, out_indices=(1, -1)).eval()
    assert (model.channels, model.strides) == ((64, 512), (4, 32))
    assert [m.shape for m in model(paddle.rand((1, 3, 64, 96)))] == [[1, 64, 16, 24], [1, 512, 2, 3]]


def test_activations_end_at_six():
    model = MobileNetV1(num_classes=2, width=0.25).eval()
    assert model.forward_features(1000.0 * paddle.randn((1, 3, 64, 64))).max() <= 6.0


def test_any_size_of_picture_works():
    model = MobileNetV1(num_classes=2, in_channels=1, width=0.25).eval()
    assert [model(paddle.rand((1, 1, *size))).shape for size in ((1, 1), (33, 50), (160, 128))] == [[1, 2]] * 3


def test_head_follows_features_also_after_a_new_classifier():
    model = ic.create_model('mobilenet_v1_x0_25').eval()
    model.reset_classifier(5)
    x = paddle.rand((2, 3, 64, 64))
    assert (model.forward_head(model.forward_features(x)) == model(x)).all()
    assert model(x).shape == [2, 5] and model.state_dict()['classifier.weight'].shape == [256, 5]


def test_dropout_acts_in_training_only():
    model = MobileNetV1(width=0.25, dropout=0.5)
    features = paddle.rand((2, 256, 2, 2))
    assert (model.forward_head(features) != model.forward_head(features)).any()
    model.eval()
    assert (model.forward_head(features) == model.forward_head(features)).all()


def test_a_width_that_is_not_positive_is_refused():
    with pytest.raises(ic.UserError, match='WIDTH is 0.0'):
        ic.create_model('mobilenet_v1_x1_0', width=0.0)
