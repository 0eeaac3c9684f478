import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.shufflenet_v2.model import Unit, channel_shuffle
from tests.networks import empty, outline

PARAMETERS = {'x0_5': 1_366_792, 'x1_0': 2_278_604, 'x1_5': 3_503_624, 'x2_0': 7_393_996}


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_number_of_parameters(variant):
    assert count_parameters(outline(f'shufflenet_v2_{variant}')) == PARAMETERS[variant]


def test_a_shuffle_takes_one_channel_from_each_group_in_turn():
    x = paddle.arange(6, dtype='float32').reshape([1, 6, 1, 1])
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize('height, width', [(224, 224), (97, 130), (32, 1)])
def test_takes_any_size_and_gives_a_map_per_stride(height, width):
    model = empty('shufflenet_v2_x0_5', features_only=True)
    maps = model(paddle.rand((1, 3, height, width)))
    assert [list(m.shape) for m in maps] == [[1, c, -(-height // s), -(-width // s)]
                                             for c, s in zip((24, 24, 48, 96, 192), (2, 4, 8, 16, 32))]
    assert (model.channels, model.strides) == ((24, 24, 48, 96, 192), (2, 4, 8, 16, 32))


def test_a_skipped_unit_only_shuffles():
    unit = Unit(8, drop_path=0.5).train()
    unit.drop_path.p = 1.0 - 1e-9                                  # skips every sample
    x = paddle.rand((4, 8, 5, 5))
    np.testing.assert_array_equal(unit(x).numpy(), channel_shuffle(x, 2).numpy())


def test_drop_path_rises_linearly_and_acts_in_training_only():
    model = ic.create_model('shufflenet_v2_x0_5', drop_path=0.3)
    rates = [layer.drop_path.p for layer in model.sublayers() if isinstance(layer, Unit)]
    assert rates == sorted(rates) and rates[-1] == pytest.approx(0.3) and rates[0] == pytest.approx(0.3 / 15)
    plain = ic.create_model('shufflenet_v2_x0_5').eval()
    plain.set_state_dict(model.state_dict())
    x = paddle.rand((2, 3, 64, 64))
    assert (model.eval()(x) == plain(x)).all()


@pytest.mark.parametrize('key, value, words', [
    ('CHANNELS', [116, 233, 464], 'even numbers'), ('CHANNELS', [116, 232], 'three numbers'),
    ('REPEATS', [4, 0, 4], r'REPEATS\[1\] is 0')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('shufflenet_v2_x1_0', {f'MODEL.SHUFFLENET.{key}': value}))
