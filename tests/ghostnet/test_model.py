import numpy as np
import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.ghostnet.model import DecoupledAttention, GhostModule, SqueezeExcite
from image_classification.weights import from_torch, to_torch
from tests.networks import outline, settled

PARAMETERS = {'v1_x0_5': 2_587_292, 'v3_x1_0': 8_129_028}   # of timm's networks; docs/networks.md has the others'


def narrow(version, **keys):
    keys = {'WIDTH': 0.25, 'NUM_CLASSES': 5, 'VERSION': version, **keys}
    return ic.create_model(ic.get_config('ghostnet_v1_x0_5', {'DATA.IMAGE_SIZE': 64, **{f'MODEL.{key}': value for key, value in
                                                                                      keys.items()}}))


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'ghostnet_{variant}')) == PARAMETERS[variant]


def test_half_of_a_modules_channels_follow_from_the_other_half():
    module, x = GhostModule(6, 8).eval(), paddle.randn([1, 6, 5, 5])
    y = module(x)
    np.testing.assert_allclose(y[:, 4:].numpy(), module.cheap_operation(y[:, :4]).numpy(), atol=1e-6)


def test_attention_is_in_all_blocks_but_the_first_two():
    blocks = [block for stage in list(outline('ghostnet_v2_x1_0').blocks)[:-1] for block in stage]
    assert [isinstance(block.ghost1.short_conv, DecoupledAttention) for block in blocks] == [False] * 2 + [True] * 14
    assert all(block.ghost2.short_conv is None for block in blocks)


def test_gates_are_as_large_as_the_map_also_at_odd_sizes():
    gates = DecoupledAttention(2, 4).eval()(paddle.randn([1, 2, 7, 6]))
    assert gates.shape == [1, 4, 7, 6] and (gates[:, :, 0] == gates[:, :, 1]).all() and ((0 < gates) & (gates < 1)).all()


def test_a_hard_sigmoid_gates_the_channels():
    layer, x = SqueezeExcite(8), paddle.rand([1, 8, 2, 2])
    for bias, gate in ((-3.0, 0.0), (0.0, 0.5), (3.0, 1.0)):
        layer.conv_expand.weight.set_value(paddle.zeros_like(layer.conv_expand.weight))
        layer.conv_expand.bias.set_value(paddle.full([8], bias))
        assert paddle.allclose(layer(x), gate * x)


def test_feature_maps_are_those_of_timm():
    model = ic.create_model('ghostnet_v1_x0_5', features_only=True)
    assert (model.channels, model.strides) == ((8, 12, 20, 40, 80), (2, 4, 8, 16, 32))
    maps = model.eval()(paddle.randn([1, 3, 65, 64]))
    assert [list(m.shape[2:]) for m in maps] == [[33, 32], [17, 16], [9, 8], [5, 4], [3, 2]] and maps[0].min() < 0


def test_fused_version_3_is_as_small_as_version_2_and_training_keeps_the_branches():
    model, x = settled(narrow('v3')), paddle.randn([2, 3, 64, 96])
    fused = ic.fuse(model)
    assert ((fused(x) - model(x)).abs().max() <= 1e-4 * model(x).std()).item()
    assert not [layer for layer in fused.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    second = ic.fuse(narrow('v2'))
    assert count_parameters(fused) == count_parameters(second)
    assert len(model.blocks[1][0].dw_rpr_conv) == 3 and model.blocks[1][0].dw_rpr_scale is not None


@pytest.mark.parametrize('version', ['v2', 'v3'])
def test_versions_with_attention_name_the_size_that_they_want(version):
    with pytest.raises(ic.UserError, match='GhostNet with attention takes images of at least 33 x 33 pixels, found 32 x 64'):
        narrow(version).eval()(paddle.rand([1, 3, 32, 64]))


def test_version_1_takes_any_size():
    assert narrow('v1').eval()(paddle.rand([1, 3, 1, 50])).shape == [1, 5]


def test_the_authors_names_of_version_3_are_read_and_counters_go():
    model = narrow('v3')
    published = to_torch(model, 'official')
    assert {'blocks.0.0.ghost1.primary_rpr_conv.2.bn.weight', 'blocks.1.0.dw_rpr_scale.bn.running_var', 'blocks.9.0.bn1.bias',
            'blocks.2.0.ghost2.cheap_rpr_scale.bn.bias', 'blocks.2.0.ghost1.cheap_rpr_skip.weight'} <= set(published)
    published['blocks.0.0.total_ops'] = np.zeros(1)
    state = from_torch(narrow('v3'), published, 'official')
    assert all((state[key] == value.numpy()).all() for key, value in model.state_dict().items())


def test_paddleclas_network_is_made_by_a_key_and_of_version_1_alone():
    keys = {key: tuple(value.shape) for key, value in narrow('v1', DESIGN='paddleclas').state_dict().items()}
    assert keys['bn2.weight'] == (1280,) and 'conv_head.bias' not in keys and len(keys['blocks.3.0.se.conv_reduce.weight']) == 2
    with pytest.raises(ic.UserError, match="DESIGN is 'paddleclas' with VERSION 'v2'"):
        narrow('v2', DESIGN='paddleclas')
