import numpy as np
import paddle
import pytest
from PIL import Image

import image_classification as ic
from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.shufflenet_v1.model import Unit, megvii_shuffle
from tests.networks import empty, outline

PARAMETERS = {'g3_x0_5': 717_324, 'g3_x1_0': 1_864_728, 'g3_x1_5': 3_441_168, 'g3_x2_0': 5_449_776,
              'g8_x0_5': 1_010_448, 'g8_x1_0': 2_433_768, 'g8_x1_5': 4_268_952, 'g8_x2_0': 6_521_232}
MACS = {'g3_x2_0': 524.05e6, 'g8_x0_5': 40.47e6}


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_number_of_parameters(variant):
    assert count_parameters(outline(f'shufflenet_v1_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('variant', MACS)
def test_costs_the_published_macs(variant):
    assert count_macs(empty(f'shufflenet_v1_{variant}'), 224) == pytest.approx(MACS[variant], rel=0.005)


def test_the_shuffle_is_megviis_not_the_papers():
    x = paddle.arange(12, dtype='float32').reshape([1, 12, 1, 1])
    assert megvii_shuffle(x, 3).flatten().tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


def test_only_the_first_pointwise_convolution_of_stage_2_has_no_groups():
    units = list(outline('shufflenet_v1_g3_x0_5').features)
    assert [unit.branch_main_1[0]._groups for unit in units] == [1] + [3] * 15
    assert all(unit.branch_main_2[0]._groups == 3 for unit in units)


def test_the_pooled_shortcut_counts_the_zeros_of_the_padding():
    unit = Unit(4, 16, 2, groups=1, first_groups=1, drop_path=0.0)
    corner = unit(paddle.ones((1, 4, 4, 4)))[0, :4, 0, 0]
    np.testing.assert_allclose(corner.numpy(), 4 / 9, rtol=1e-6)


@pytest.mark.parametrize('height, width', [(224, 224), (256, 320), (97, 130), (32, 1)])
def test_takes_any_size_and_pools_the_whole_map(height, width):
    model = ic.create_model('shufflenet_v1_g3_x0_5').eval()
    maps = model.forward_intermediates(paddle.rand((1, 3, height, width)))
    assert [list(m.shape) for m in maps] == [[1, c, -(-height // s), -(-width // s)]
                                             for c, s in zip(model.feature_channels, model.feature_strides)]
    expected = model.forward_head(maps[-1].mean([2, 3], keepdim=True)).numpy()
    np.testing.assert_allclose(model.forward_head(maps[-1]).numpy(), expected, rtol=1e-3, atol=1e-5)


def test_images_come_in_the_range_of_megviis_weights():
    preprocess = Preprocess.from_config(ic.get_config('shufflenet_v1_g3_x1_0'))
    white = preprocess(Image.new('RGB', (300, 260), 'white'))
    assert white.shape == (3, 224, 224) and white.mean() == pytest.approx(255.0)


def test_drop_path_rises_linearly():
    units = ic.create_model('shufflenet_v1_g3_x0_5', drop_path=0.3).features
    np.testing.assert_allclose([unit.drop_path.p for unit in units], np.linspace(0, 0.3, 16))


def test_without_groups_nothing_is_shuffled():
    cfg = ic.get_config('shufflenet_v1_g3_x0_5', {'MODEL.SHUFFLENET.GROUPS': 1, 'MODEL.NUM_CLASSES': 3})
    model = ic.create_model(cfg).eval()
    assert model(paddle.rand((2, 3, 64, 64))).shape == [2, 3]
    assert all(unit.branch_main_2[0]._groups == 1 for unit in model.features)


@pytest.mark.parametrize('key, value, words', [
    ('GROUPS', 7, 'GROUPS is 7, which does not fit'), ('GROUPS', 0, 'GROUPS is 0'), ('CHANNELS', [240, 480], 'three numbers'),
    ('STEM_CHANNELS', 240, 'rising'), ('REPEATS', [4, 0, 4], r'REPEATS\[1\] is 0')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('shufflenet_v1_g3_x1_0', {f'MODEL.SHUFFLENET.{key}': value}))
