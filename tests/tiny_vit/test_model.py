import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.tiny_vit import TinyViT
from image_classification.tiny_vit.model import TinyViTBlock
from image_classification.weights import from_torch, to_torch
from tests.networks import outline, settled

PARAMETERS = {'5m': 5_392_764, '11m': 10_996_972, '21m': 21_198_568}                                 # of timm's networks


def small():
    model = TinyViT(5, 3, [8, 8, 16, 16], [1, 1, 1, 1], [2, 2, 4], [3, 4, 2])
    model.config = ic.get_config('tiny_vit_5m', {'DATA.IMAGE_SIZE': 64})
    return model


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'tiny_vit_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('height, width', [(3, 6), (2, 2), (5, 4)])
def test_each_window_attends_to_itself_and_to_the_zeros_around_the_map(height, width):
    block = TinyViTBlock(8, 2, 3, 0.0).eval()
    block.attn.attention_biases.set_value(paddle.randn([2, 9]))
    x, padded = paddle.randn([2, height, width, 8]), paddle.zeros([2, 6, 6, 8])
    padded[:, :height, :width] = x
    for row in range(0, height, 3):
        for column in range(0, width, 3):
            alone = block.attn(padded[:, row:row + 3, column:column + 3].reshape([2, 9, 8])).reshape([2, 3, 3, 8])
            found = block.within_windows(x)[:, row:row + 3, column:column + 3]
            wanted = alone[:, :found.shape[1], :found.shape[2]]
            np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-5)


def test_maps_begin_with_the_downsampling_and_round_up():
    maps = small().eval().forward_intermediates(paddle.rand([1, 3, 33, 50]))
    assert [m.shape[1:] for m in maps] == [[8, 9, 13], [8, 5, 7], [16, 3, 4], [16, 2, 2]]


def test_a_form_for_evaluation_gives_the_same():
    model = settled(small())
    fused, x = ic.fuse(model), paddle.randn([2, 3, 48, 32])
    assert not [name for name in fused.state_dict() if '_mean' in name]
    assert ((fused(x) - model(x)).abs().max() < 1e-4 * model(x).std()).item()


def test_a_downsampling_ends_a_stage_of_the_authors_and_begins_one_of_timms():
    model = small()
    ours, timm = to_torch(model), to_torch(model, 'timm')
    for authors, other in {'layers.0.downsample.conv2.c.weight': 'stages.1.downsample.conv2.conv.weight',
                           'layers.2.blocks.0.attn.attention_biases': 'stages.2.blocks.0.attn.attention_biases',
                           'patch_embed.seq.2.bn.weight': 'patch_embed.conv2.bn.weight', 'norm_head.bias': 'head.norm.bias',
                           'head.weight': 'head.fc.weight'}.items():
        assert (ours[authors] == timm[other]).all()


def test_tables_of_indices_in_a_file_are_passed_over():
    model = small()
    state = {**to_torch(model), 'layers.1.blocks.0.attn.attention_bias_idxs': np.zeros([9, 9], np.int64)}
    assert from_torch(model, state).keys() == model.state_dict().keys()


def test_heads_that_do_not_divide_the_channels_are_named():
    with pytest.raises(ic.UserError, match='has 3 for a stage of 128 channels; wanted a divisor'):
        ic.create_model(ic.get_config('tiny_vit_5m', {'MODEL.TINYVIT.NUM_HEADS': [3, 5, 10]}))
