import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.lcnet.model import SqueezeExcitation
from tests.networks import empty, outline

# Of timm's networks; the hidden layer of PaddleClas's has no bias.
PARAMETERS = {'x0_25': 1_522_464, 'x0_35': 1_644_370, 'x0_5': 1_880_856, 'x0_75': 2_358_288, 'x1_0': 2_953_800, 'x1_5': 4_501_112,
              'x2_0': 6_522_792, 'x2_5': 9_018_840}


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_timms_parameters(variant):
    assert count_parameters(outline(f'lcnet_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('design, biased', [('timm', True), ('paddleclas', False)])
def test_the_hidden_layer_has_a_bias_in_timms_design(design, biased):
    with paddle.LazyGuard():
        model = ic.create_model('lcnet_x0_25', design=design)
    assert (model.conv_head.bias is not None) == biased


def test_weights_come_with_their_design():
    for name in ic.list_models('lcnet_*'):
        for entry in ic.get_config(name).PUBLISHED.WEIGHTS:
            assert entry.get('MODEL', {}).get('DESIGN', 'timm') == entry['STYLE']


def test_gates_are_in_the_last_two_blocks_and_kernels_of_5_in_the_deeper_half():
    blocks = [block for stage in outline('lcnet_x1_0').blocks for block in stage]
    assert [isinstance(block.se, SqueezeExcitation) for block in blocks] == [False] * 11 + [True] * 2
    assert [block.conv_dw.weight.shape[-1] for block in blocks] == [3] * 6 + [5] * 7


def test_maps_are_those_of_the_last_stage_at_each_stride():
    model = empty('lcnet_x0_25', features_only=True)
    assert (model.channels, model.strides) == ((8, 16, 32, 64, 128), (2, 4, 8, 16, 32))
    assert [m.shape[2:] for m in model(paddle.rand((1, 3, 65, 96)))] == [[33, 48], [17, 24], [9, 12], [5, 6], [3, 3]]
