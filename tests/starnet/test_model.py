import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.starnet import StarNet
from image_classification.starnet.model import Block
from tests.networks import outline

PARAMETERS = {'s050': 542_728, 's100': 1_043_280}   # of timm's networks; docs/networks.md has the others'


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'starnet_{variant}')) == PARAMETERS[variant]


def test_a_block_multiplies_what_two_convolutions_see():
    block, x = Block(4, 3, 0.0).eval(), paddle.randn([1, 4, 9, 9])
    y = block.dwconv(x)
    star = paddle.nn.functional.relu6(block.f1(y)) * block.f2(y)
    np.testing.assert_allclose(block(x).numpy(), (x + block.dwconv2(block.g(star))).numpy(), atol=1e-6)


def test_channels_double_from_stage_to_stage():
    assert outline('starnet_s150').feature_channels == [24, 48, 96, 192]


def test_the_stem_gives_a_finer_map():
    features = ic.create_model('starnet_s050', features_only=True, out_strides=(2, 32))
    assert [list(m.shape[1:]) for m in features(paddle.rand([1, 3, 64, 96]))] == [[32, 32, 48], [128, 2, 3]]


def test_s4_alone_has_stochastic_depth_which_grows():
    assert [ic.get_config(f'starnet_{variant}').MODEL.DROPPATH for variant in ('s1', 's2', 's3', 's4')] == [0, 0, 0, 0.1]
    rates = [block.drop_path.p for stage in outline('starnet_s4').stages for block in list(stage)[1:]]
    assert rates[0] == 0.0 and rates[-1] == pytest.approx(0.1) and rates == sorted(rates)


def test_any_size_of_picture_works():
    model = StarNet(2, 1, 8, (1, 1)).eval()
    assert [model(paddle.rand([1, 1, *size])).shape for size in ((1, 1), (33, 50))] == [[1, 2]] * 2


def test_the_classifier_begins_small_and_the_convolutions_as_pytorchs():
    model = StarNet(1000, dim=16, depths=(1, 1))
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.05)
    weight = model.stages[0][1].f1.conv.weight
    assert 0.8 * 16 ** -0.5 < abs(weight).max().item() <= 16 ** -0.5
