import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.mobilenext.model import SGBlock
from tests.networks import empty, outline

PARAMETERS = {'x0_35': 1_913_976, 'x0_5': 2_152_304, 'x0_75': 2_766_168, 'x1_0': 3_535_416, 'x1_4': 6_126_168}
MACS = {'x0_35': 75.14e6, 'x1_4': 588.32e6}


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_number_of_parameters(variant):
    assert count_parameters(outline(f'mobilenext_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('variant', MACS)
def test_costs_the_published_macs(variant):
    assert count_macs(empty(f'mobilenext_{variant}'), 224) == pytest.approx(MACS[variant], rel=0.005)


def test_the_last_block_only_widens():
    widths = [outline(f'mobilenext_{variant}').feature_channels[-1] for variant in PARAMETERS]
    assert widths == [1280, 1280, 1280, 1280, 1792]


def test_the_identity_multiplier_adds_the_input_to_the_first_channels_only():
    block = SGBlock(12, 12, 1, 6, first=True, last=True, shortcut=4, drop_path=0.0).eval()
    x = paddle.rand((2, 12, 7, 7))
    added = (block(x) - block.conv(x)).numpy()
    np.testing.assert_allclose(added[:, :4], x[:, :4].numpy(), atol=1e-6)
    assert (added[:, 4:] == 0).all()


def test_half_identity_has_the_same_parameters_and_other_outputs():
    whole = ic.create_model('mobilenext_x0_35').eval()
    half = ic.create_model('mobilenext_x0_35', identity_div=2).eval()
    half.set_state_dict(whole.state_dict())
    x = paddle.rand((1, 3, 64, 64))
    assert half.features[4].shortcut == whole.features[4].shortcut // 2
    assert not np.allclose(half(x).numpy(), whole(x).numpy(), rtol=1e-3, atol=0.0)


def test_only_repeated_blocks_have_shortcuts():
    blocks = list(outline('mobilenext_x1_0').features)[1:]
    assert [i + 1 for i, block in enumerate(blocks) if block.shortcut] == [4, 5, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19]


def test_drop_path_rises_linearly_where_a_shortcut_is():
    model = ic.create_model('mobilenext_x0_35', drop_path=0.38)
    rates = [block.drop_path.p for block in list(model.features)[1:]]
    np.testing.assert_allclose(rates, [0.02 * i if block.shortcut else 0.0
                                       for i, block in enumerate(list(model.features)[1:])])


@pytest.mark.parametrize('height, width', [(224, 224), (97, 130), (32, 1)])
def test_takes_any_size_and_gives_a_map_per_stride(height, width):
    model = empty('mobilenext_x0_5', features_only=True)
    assert (model.channels, model.strides) == ((16, 72, 96, 192, 1280), (2, 4, 8, 16, 32))
    maps = model(paddle.rand((1, 3, height, width)))
    assert [list(m.shape) for m in maps] == [[1, c, -(-height // s), -(-width // s)]
                                             for c, s in zip(model.channels, model.strides)]


@pytest.mark.parametrize('key, value, words', [('WIDTH', 0.0, 'WIDTH is 0.0'), ('IDENTITY_DIV', 0, 'IDENTITY_DIV is 0')])
def test_multipliers_that_cannot_be_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('mobilenext_x1_0', {f'MODEL.{key}': value}))
