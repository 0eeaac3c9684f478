import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.efficientformer_v2 import EfficientFormerV2
from image_classification.efficientformer_v2.model import Attention4D, AttnFFN
from image_classification.weights import from_torch, to_torch
from tests.networks import outline, settled

PARAMETERS = {'s0': 3_600_256, 's1': 6_185_560, 's2': 12_710_112, 'l': 26_322_288}                   # of timm's networks


def small(distilled=True, side=4):
    model = EfficientFormerV2(5, 3, [8, 8, 16, 16], [1, 1, 2, 1], 1, [2] * 5, side, distilled)
    model.config = ic.get_config('efficientformer_v2_s0', {'DATA.IMAGE_SIZE': 64})
    return model


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'efficientformer_v2_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('variant, attentions', [('s0', [2, 2]), ('s2', [4, 4]), ('l', [6, 6])])
def test_the_last_blocks_of_two_stages_have_attention(variant, attentions):
    stages = [outline(f'efficientformer_v2_{variant}').network[i] for i in (0, 2, 4, 6)]
    assert [sum(isinstance(block, AttnFFN) for block in stage) for stage in stages] == [0, 0, *attentions]
    assert all(isinstance(stage[-1], AttnFFN) for stage in stages[2:])


def test_training_gives_both_classifiers_and_evaluation_their_mean():
    model, x = small(), paddle.randn([2, 3, 64, 64])
    first, second = model(x)
    assert first.shape == second.shape == [2, 5]
    pooled = settled(model).forward_features(x).mean([2, 3])
    wanted = (model.head(pooled) + model.dist_head(pooled)) / 2
    assert ((model(x) - wanted).abs().max() < 1e-5 * wanted.std()).item()


@pytest.mark.parametrize('size', [(5, 5), (4, 7), (1, 1)])
def test_stride_attention_gives_a_map_of_its_inputs_size(size):
    assert Attention4D(16, side=4, stride=2)(paddle.rand([2, 16, *size])).shape == [2, 16, *size]


def test_a_form_for_evaluation_gives_the_same_at_any_size():
    model = settled(small())
    for name, value in model.named_parameters():
        if name.endswith(('layer_scale_1', 'layer_scale_2', 'attention_biases')):
            value.set_value(0.3 + 0.1 * paddle.randn(value.shape))
    fused = ic.fuse(model)
    assert not [name for name in fused.state_dict() if 'layer_scale' in name or 'dist_head' in name]
    for size in ((64, 64), (96, 33)):
        x = paddle.randn([2, 3, *size])
        assert ((fused(x) - model(x)).abs().max() < 1e-4 * model(x).std()).item()


def test_layer_scales_are_vectors_in_timms_files_and_maps_in_the_authors():
    model = small()
    ours, timm = to_torch(model), to_torch(model, 'timm')
    assert ours['network.4.1.layer_scale_1'].shape == (16, 1, 1) and timm['stages.2.blocks.1.ls1.gamma'].shape == (16,)
    for authors, other in {'network.3.proj.weight': 'stages.2.downsample.conv.conv.weight',
                           'network.5.conv.weight': 'stages.3.downsample.conv.conv.weight',
                           'network.5.attn.q.local.0.weight': 'stages.3.downsample.attn.q.local.weight',
                           'network.5.attn.q.proj.1.bias': 'stages.3.downsample.attn.q.proj.bn.bias',
                           'network.6.0.token_mixer.proj.1.weight': 'stages.3.blocks.0.token_mixer.proj.conv.weight',
                           'network.0.0.mlp.mid_norm.weight': 'stages.0.blocks.0.mlp.mid.bn.weight'}.items():
        assert (ours[authors] == timm[other]).all()
    for state, style in ((ours, 'official'), (timm, 'timm')):
        back = from_torch(model, state, style)
        assert all((back[name] == value.numpy()).all() for name, value in model.state_dict().items())


@pytest.mark.parametrize('key, value, words', [('RATIOS', [4] * 13, 'has 13 numbers; wanted one for each of the 14'),
                                               ('ATTENTIONS', 5, 'wanted at most 4')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('efficientformer_v2_s0', {f'MODEL.EFFICIENTFORMER.{key}': value}))
