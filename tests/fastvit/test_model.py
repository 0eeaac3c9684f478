import numpy as np
import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.fastvit.model import Attention, AttentionBlock, LargeKernel, RepMixer, RepMixerBlock
from image_classification.weights import from_torch, to_torch
from tests.networks import outline, settled

PARAMETERS = {'t8': 4_026_232, 'sa12': 11_580_968}   # of timm's networks; docs/networks.md has the others'


def shallow(**keys):
    keys = {'FASTVIT.DIMS': [16, 32, 64], 'FASTVIT.DEPTHS': [1, 1, 2], 'FASTVIT.ATTENTION': True, 'NUM_CLASSES': 5,
            'FASTVIT.LAYER_SCALE_INIT': 0.5, **keys}
    return ic.create_model(ic.get_config('fastvit_t8', {'DATA.IMAGE_SIZE': 64, **{f'MODEL.{key}': value for key, value in
                                                                                keys.items()}}))


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'fastvit_{variant}')) == PARAMETERS[variant]


def test_attention_is_in_the_last_stage_of_sa12_alone():
    kinds = [{type(block) for block in stage.blocks} for stage in outline('fastvit_sa12').stages]
    assert kinds == [{RepMixerBlock}] * 3 + [{AttentionBlock}]
    assert [isinstance(stage.pos_emb, nn.Identity) for stage in outline('fastvit_sa12').stages] == [True] * 3 + [False]
    assert {type(block) for stage in outline('fastvit_t8').stages for block in stage.blocks} == {RepMixerBlock}


def test_pixels_share_out_their_attention():
    attention, x = Attention(64), paddle.randn([2, 64, 3, 5])
    mixed, weights = attention.attend(x)
    assert mixed.shape == x.shape and weights.shape == [2, 2, 15, 15]
    np.testing.assert_allclose(weights.sum(-1).numpy(), 1.0, rtol=1e-5)


def test_fused_nothing_is_left_of_branches_norms_and_layer_scales():
    model, x = settled(shallow()), paddle.randn([2, 3, 64, 96])
    fused = ic.fuse(model)
    assert ((fused(x) - model(x)).abs().max() <= 1e-4 * model(x).std()).item()
    assert ((ic.fuse(fused)(x) - model(x)).abs().max() <= 1e-4 * model(x).std()).item()
    left = [type(layer).__name__ for layer in fused.sublayers()]
    assert not {'BatchNorm2D', 'LayerScale'} & set(left)
    for layer in fused.sublayers():
        if isinstance(layer, (RepMixer, LargeKernel)):
            assert sum(isinstance(child, nn.Conv2D) for child in layer.sublayers()) == 1
    assert isinstance(model.stages[0].blocks[0].token_mixer, RepMixer) and model.training is False
    assert count_parameters(fused) < count_parameters(model)


def test_the_authors_names_are_read_and_written():
    model = shallow()
    published = to_torch(model, 'official')
    assert {'patch_embed.1.rbr_scale.conv.weight', 'network.0.0.token_mixer.layer_scale', 'network.0.0.layer_scale',
            'network.0.0.token_mixer.norm.rbr_skip.running_mean', 'network.1.proj.0.lkb_origin.conv.weight',
            'network.3.proj.1.rbr_skip.bias', 'network.4.pe.weight', 'network.5.1.layer_scale_2',
            'network.5.0.convffn.fc2.bias',
            'conv_exp.se.reduce.weight', 'head.weight'} <= set(published)
    state = from_torch(shallow(), published, 'official')
    assert all((state[key] == value.numpy()).all() for key, value in model.state_dict().items())


def test_stochastic_depth_grows_and_sa12_has_some():
    rates = [block.drop_path.p for stage in outline('fastvit_sa12').stages for block in stage.blocks]
    assert rates == pytest.approx([i / 110 for i in range(12)])
    assert ic.get_config('fastvit_s12').MODEL.DROPPATH == 0.0


def test_any_size_of_picture_works():
    model = shallow().eval()
    assert [model(paddle.rand([1, 3, *size])).shape for size in ((1, 1), (33, 50))] == [[1, 5]] * 2


@pytest.mark.parametrize('keys, words', [
    ({'FASTVIT.DEPTHS': [1]}, 'DIMS has 3 values, DEPTHS 1'), ({'FASTVIT.DIMS': [16, 24, 64]}, 'wanted multiples'),
    ({'FASTVIT.DIMS': [10, 20, 40]}, r'DIMS is \[10, 20, 40\]; wanted multiples .* of 32 in the last')])
def test_parts_that_do_not_fit_are_named(keys, words):
    with pytest.raises(ic.UserError, match=words):
        shallow(**keys)
