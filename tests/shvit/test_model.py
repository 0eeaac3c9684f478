import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.fuse import reparameterize
from image_classification.layers.group_norm import ByMeans
from image_classification.shvit import SHViT
from image_classification.shvit.model import SHSA
from image_classification.shvit.reparameterize import Merged
from image_classification.weights import to_torch
from tests.networks import outline, settled

PARAMETERS = {'s1': 6_330_808, 's2': 11_483_072, 's3': 14_245_273, 's4': 16_588_484}                 # of timm's networks


def small():
    model = SHViT(5, 3, [16, 24, 32], [1, 1, 1], [0, 8, 12])
    model.config = ic.get_config('shvit_s1', {'DATA.IMAGE_SIZE': 64})
    return model


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'shvit_{variant}')) == PARAMETERS[variant]


def test_the_first_stage_has_no_attention():
    model = outline('shvit_s1')
    stages = [sum(isinstance(layer, SHSA) for layer in stage.sublayers()) for stage in (model.blocks1, model.blocks2, model.blocks3)]
    assert stages == [0, 4, 5]


def test_channels_past_the_attention_reach_the_projection_as_they_are():
    layer = SHSA(6, 2).eval()
    layer.proj = nn.Identity()
    x = paddle.randn([2, 6, 3, 5])
    assert (layer(x)[:, 2:] == x[:, 2:]).all() and (layer(x)[:, :2] != x[:, :2]).any()


@pytest.mark.parametrize('height, width', [(1, 1), (33, 50)])
def test_takes_any_size(height, width):
    maps = small().eval().forward_finer(paddle.rand([1, 3, height, width]))
    assert [m.shape[2:] for m in maps] == [[-(-height // s), -(-width // s)] for s in (2, 4, 8, 16, 32, 64)]


def test_a_depthwise_convolution_takes_norm_and_shortcut_in():
    model, x = settled(small()), paddle.randn([2, 3, 64, 64])
    fused = ic.fuse(model)
    assert sum(isinstance(layer, Merged) for layer in fused.sublayers()) == 7
    assert not [layer for layer in fused.sublayers() if isinstance(layer, (nn.BatchNorm1D, nn.BatchNorm2D))]
    assert ((fused(x) - model(x)).abs().max() < 1e-4 * model(x).std()).item()


def test_the_form_for_onnx_normalizes_by_means():
    model, x = settled(small()), paddle.randn([2, 3, 64, 64])
    ready = reparameterize(model, onnx=True)
    assert sum(isinstance(layer, ByMeans) for layer in ready.sublayers()) == 2
    assert ((ready(x) - model(x)).abs().max() < 1e-4 * model(x).std()).item()


def test_a_downsampling_is_three_layers_of_the_authors_and_five_of_timms():
    model = small()
    ours, timm = to_torch(model), to_torch(model, 'timm')
    for authors, other in {'blocks1.0.conv.m.c.weight': 'stages.0.blocks.0.conv.m.c.weight',
                           'blocks2.0.1.m.pw1.c.weight': 'stages.1.downsample.1.m.pw1.c.weight',
                           'blocks2.1.se.fc1.bias': 'stages.1.downsample.2.se.fc1.bias',
                           'blocks3.2.0.m.bn.weight': 'stages.2.downsample.3.m.bn.weight',
                           'blocks3.3.mixer.m.qkv.c.weight': 'stages.2.blocks.0.mixer.m.qkv.c.weight'}.items():
        assert (ours[authors] == timm[other]).all()


@pytest.mark.parametrize('key, value, words', [('ATTENDED', [0, 224, 68], 'has 224 for a stage of 224 channels; wanted fewer'),
                                               ('DIMS', [100, 224, 320], 'begins with 100')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('shvit_s1', {f'MODEL.SHVIT.{key}': value}))
