import paddle
import pytest

import image_classification as ic
from image_classification.uniformer import UniFormer
from tests.golden import Recording
from tests.networks import outline

PARAMETERS = {'small': 21_545_256, 'small_plus': 24_032_552, 'small_plus_dim64': 24_032_552, 'base': 49_776_552,
              'base_ls': 49_796_520}
TINY = {'num_classes': 5, 'depths': (1, 1, 2, 1), 'dims': (8, 16, 32, 64), 'head_dim': 16}


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_recorded_number_of_parameters(variant):
    model = outline(f'uniformer_{variant}')
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == PARAMETERS[variant]


@pytest.mark.parametrize('name', ['uniformer_small', 'uniformer_small_plus_dim64'])
def test_has_the_published_names_in_their_order(name):
    keys = [key.replace('running_mean', '_mean').replace('running_var', '_variance')
            for key, *_ in Recording(name).meta['keys'] if not key.endswith('num_batches_tracked')]
    assert list(outline(name).state_dict()) == keys


def test_layer_scale_belongs_to_one_network_and_to_its_global_blocks():
    """The published code switches it on for every network built later."""
    scaled = [name for name, _ in UniFormer(layer_scale=1e-6, **TINY).named_parameters() if 'gamma' in name]
    assert scaled == [f'blocks{block}.gamma_{i}' for block in ('3.0', '3.1', '4.0') for i in (1, 2)]
    assert not [name for name, _ in UniFormer(**TINY).named_parameters() if 'gamma' in name]


def test_heads_of_32_channels_compute_something_else_than_heads_of_64():
    small_plus, dim64 = outline('uniformer_small_plus'), outline('uniformer_small_plus_dim64')
    assert [model.blocks3[0].attn.heads for model in (small_plus, dim64)] == [10, 5]
    assert [model.blocks4[0].attn.heads for model in (small_plus, dim64)] == [16, 8]


def test_a_local_block_sees_seven_pixels_and_a_global_one_the_whole_map():
    """3 x 3 position embedding and 5 x 5 relations make 7; what is further away does not matter."""
    model = UniFormer(**TINY).eval()
    for block, channels, seen in ((model.blocks1[0], 8, 49), (model.blocks3[0], 32, 13 * 13)):
        x = paddle.randn((1, channels, 13, 13))
        x.stop_gradient = False
        block(x)[:, :, 6, 6].sum().backward()
        assert (x.grad.abs().sum([0, 1]) > 0).sum().item() == seen


@pytest.mark.parametrize('conv_stem, size, last', [
    (False, (32, 100), (1, 3)), (True, (32, 100), (1, 4)), (True, (7, 1), (1, 1))])
def test_takes_sizes_that_its_patches_do_not_divide(conv_stem, size, last):
    model = UniFormer(conv_stem=conv_stem, **TINY).eval()
    features = model.forward_features(paddle.rand((2, 3, *size)))
    assert tuple(features.shape) == (2, 64, *last)
    assert model.forward_head(features).shape == [2, 5]


def test_images_below_one_patch_are_refused():
    with pytest.raises(ic.UserError, match='at least 32 x 32 pixels, found 31 x 64'):
        UniFormer(**TINY)(paddle.rand((1, 3, 31, 64)))


def test_stochastic_depth_rises_from_block_to_block():
    model = UniFormer(drop_path=0.4, **TINY)
    rates = [block.drop_path.p for stage in (model.blocks1, model.blocks2, model.blocks3, model.blocks4) for block in stage]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize('option', [{'dropout': 0.5}, {'attn_dropout': 0.5}, {'drop_path': 0.9}])
def test_each_dropout_acts_in_training_only(option):
    paddle.seed(0)
    model = UniFormer(**TINY, **option).eval()
    x = paddle.rand((8, 3, 32, 64))
    assert (model(x) == model(x)).all()
    for layer in model.sublayers(include_self=True):
        layer.training = not isinstance(layer, paddle.nn.BatchNorm2D)
    assert (model(x) != model(x)).any()


@pytest.mark.parametrize('option', [{'qkv_bias': False}, {'qk_scale': 0.5}, {'mlp_ratio': 2.5}, {'in_channels': 1},
                                    {'conv_stem': True, 'layer_scale': 0.1}])
def test_every_option_trains_every_parameter(option):
    model = UniFormer(**TINY, **option)
    model(paddle.rand((2, option.get('in_channels', 3), 64, 64))).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if not p.stop_gradient)


def test_a_new_classifier_has_the_wanted_classes():
    model = UniFormer(**TINY).eval()
    model.reset_classifier(7)
    assert model(paddle.rand((2, 3, 32, 32))).shape == [2, 7]


@pytest.mark.parametrize('key, value, words', [
    ('DEPTHS', [3, 4, 8], 'DEPTHS is .* four numbers'), ('HEAD_DIM', 48, r'does not divide the widths \[320, 512\]'),
    ('DIMS', [63, 128, 320, 512], 'starts with 63')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('uniformer_small_plus_dim64', {f'MODEL.UNIFORMER.{key}': value}))
