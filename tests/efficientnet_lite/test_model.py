from math import ceil

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.efficientnet_lite import EfficientNetLite
from image_classification.efficientnet_lite.model import conv2d
from tests.networks import empty, outline

PARAMETERS = {0: 4_652_008, 1: 5_416_680, 2: 6_092_072, 3: 8_197_096, 4: 13_006_568}               # of timm's networks
BLOCKS = {0: [1, 2, 2, 3, 3, 4, 1], 1: [1, 3, 3, 4, 4, 5, 1], 4: [1, 4, 4, 6, 6, 8, 1]}


@pytest.mark.parametrize('size', PARAMETERS)
def test_has_the_published_parameters(size):
    assert count_parameters(outline(f'efficientnet_lite{size}')) == PARAMETERS[size]


@pytest.mark.parametrize('size', BLOCKS)
def test_first_and_last_stage_have_one_block_at_every_depth(size):
    assert [len(stage) for stage in outline(f'efficientnet_lite{size}').blocks] == BLOCKS[size]


@pytest.mark.parametrize('size', [224, 225, 97, 98, 5, 4, 3, 2])
@pytest.mark.parametrize('kernel', [3, 5])
def test_padding_is_tensorflows_same(kernel, size):
    """An odd number of pixels in all has one more behind than in front."""
    padding = max((ceil(size / 2) - 1) * 2 + kernel - size, 0)
    conv, x = conv2d(2, 3, kernel, 2), paddle.randn([1, 2, size, size])
    before = padding // 2
    padded = F.pad(x, [before, padding - before] * 2)
    np.testing.assert_allclose(conv(x).numpy(), F.conv2d(padded, conv.weight, stride=2).numpy(), atol=1e-5)


def test_maps_are_those_of_the_last_stage_at_each_stride_and_round_up():
    model = empty('efficientnet_lite0', features_only=True)
    assert (model.channels, model.strides) == ((16, 24, 40, 112, 320), (2, 4, 8, 16, 32))
    assert [m.shape[1:] for m in model(paddle.rand((1, 3, 65, 96)))] == [
        [16, 33, 48], [24, 17, 24], [40, 9, 12], [112, 5, 6], [320, 3, 3]]


def test_any_size_of_picture_works():
    model = EfficientNetLite(num_classes=2, in_channels=1).eval()
    assert [model(paddle.rand((1, 1, *size))).shape for size in ((1, 1), (33, 50), (160, 128))] == [[1, 2]] * 3


def test_a_block_leaves_its_output_without_activation():
    model = EfficientNetLite(num_classes=2).eval()
    assert all(m.min() < 0.0 for m in model.forward_intermediates(paddle.randn((1, 3, 64, 64))))


def test_stochastic_depth_grows_and_spares_blocks_without_shortcut():
    model = ic.create_model('efficientnet_lite0', drop_path=0.15)
    rates = [block.drop_path.p for stage in model.blocks for block in stage if hasattr(block, 'drop_path')]
    assert [i for i, rate in enumerate(rates, 1) if rate] == [2, 4, 6, 7, 9, 10, 12, 13, 14]
    assert rates[1] == pytest.approx(0.02) and rates[13] == pytest.approx(0.14)


def test_dropout_acts_in_training_only():
    model = EfficientNetLite(dropout=0.5)
    features = paddle.rand((2, 1280, 2, 2))
    assert (model.forward_head(features) != model.forward_head(features)).any()
    model.eval()
    assert (model.forward_head(features) == model.forward_head(features)).all()


@pytest.mark.parametrize('key', ['width', 'depth'])
def test_a_scale_that_is_not_positive_is_refused(key):
    with pytest.raises(ic.UserError, match=f'{key.upper()} is 0.0'):
        ic.create_model('efficientnet_lite0', **{key: 0.0})


def test_a_new_classifier_begins_with_small_logits_whatever_the_classes():
    model = EfficientNetLite(num_classes=2)
    assert abs(model.classifier.weight).max().item() <= 1280 ** -0.5
    model.reset_classifier(1000)
    assert abs(model.classifier.weight).max().item() == pytest.approx(1280 ** -0.5, rel=0.01)
