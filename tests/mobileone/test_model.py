import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.layers import ChannelGates
from image_classification.mobileone import MobileOne
from image_classification.weights import from_torch, to_torch
from tests.networks import outline, settled

PARAMETERS = {'s0': 5_293_272, 's4': 14_951_248}   # of timm's networks; docs/networks.md has the others'


def narrow(**keys):
    keys = {'MOBILEONE.WIDTHS': [0.25] * 4, 'NUM_CLASSES': 5, **keys}
    return ic.create_model(ic.get_config('mobileone_s0', {'DATA.IMAGE_SIZE': 64, **{f'MODEL.{key}': value for key, value in
                                                                                  keys.items()}}))


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'mobileone_{variant}')) == PARAMETERS[variant]


def test_each_block_is_a_depthwise_layer_and_a_1x1_layer():
    stages = outline('mobileone_s1').stages
    assert [len(stage) for stage in stages] == [4, 16, 20, 2]
    assert all(layer.conv_kxk[0].conv.weight.shape[1:] == [1, 3, 3] for stage in stages for layer in stage[::2])
    assert all(layer.conv_kxk[0].conv.weight.shape[2:] == [1, 1] for stage in stages for layer in stage[1::2])


def test_branches_are_four_in_s0_behind_the_stem_and_one_elsewhere():
    counts = {len(layer.conv_kxk) for stage in outline('mobileone_s0').stages for layer in stage}
    assert counts == {4} and len(outline('mobileone_s0').stem.conv_kxk) == 1
    assert {len(layer.conv_kxk) for stage in outline('mobileone_s2').stages for layer in stage} == {1}


def test_the_last_blocks_of_s4_have_gates():
    gated = [[isinstance(layer.attn, ChannelGates) for layer in stage] for stage in outline('mobileone_s4').stages]
    assert gated == [[False] * 4, [False] * 16, [False] * 10 + [True] * 10, [True] * 2]


def test_fused_each_layer_is_one_convolution_and_training_keeps_the_branches():
    model, x = settled(narrow(**{'MOBILEONE.GATED': [0, 0, 1, 1]})), paddle.randn([2, 3, 64, 96])
    fused = ic.fuse(model)
    assert ((fused(x) - model(x)).abs().max() <= 1e-4 * model(x).std()).item()
    convolutions = [layer for layer in fused.sublayers() if isinstance(layer, nn.Conv2D)]
    assert len(convolutions) == 1 + 2 * 21 + 4 * 2                 # of the stem, the blocks, four gates
    assert not [layer for layer in fused.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    assert len(model.stages[0][0].conv_kxk) == 4 and model.stages[0][0].identity is None
    assert count_parameters(fused) < count_parameters(model)


def test_the_authors_names_are_read_and_written():
    model = narrow(**{'MOBILEONE.GATED': [0, 0, 1, 1]})
    published = to_torch(model, 'official')
    assert {'stage0.rbr_conv.0.conv.weight', 'stage0.rbr_scale.bn.running_mean', 'stage1.2.rbr_skip.weight',
            'stage3.19.se.reduce.weight', 'stage4.1.se.expand.bias', 'stage2.15.rbr_conv.3.bn.bias',
            'linear.weight'} <= set(published)
    state = from_torch(narrow(**{'MOBILEONE.GATED': [0, 0, 1, 1]}), published, 'official')
    assert all((state[key] == value.numpy()).all() for key, value in model.state_dict().items())


def test_features_are_the_stem_and_the_stages_at_any_size():
    model = MobileOne(2, 1, widths=(0.25, 0.5, 0.5, 0.25)).eval()
    maps = model.forward_intermediates(paddle.rand([1, 1, 33, 90]))
    assert [list(m.shape[1:]) for m in maps] == [[16, 17, 45], [16, 9, 23], [64, 5, 12], [128, 3, 6], [128, 2, 3]]
