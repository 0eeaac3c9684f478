import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.fuse import reparameterize
from image_classification.layers.position_bias import distances
from image_classification.levit import LeViT
from image_classification.levit.model import AttentionSubsample
from image_classification.levit.reparameterize import PooledSubsample
from image_classification.weights import from_torch, to_torch
from tests.networks import outline, settled

PARAMETERS = {'128s': 7_777_058, '128': 9_213_936, '192': 10_947_069, '256': 18_893_876}             # of timm's networks


def small(distilled=True, side=3, **others):
    """A network of one block in each stage, for five classes."""
    model = LeViT(5, 3, [16, 24, 32], [1, 1, 1], [2, 2, 2], 8, side, distilled, **others)
    model.config = ic.get_config('levit_128s', {'DATA.IMAGE_SIZE': 64})
    return model


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'levit_{variant}')) == PARAMETERS[variant]


def test_training_gives_both_classifiers_and_evaluation_their_mean():
    model, x = small(), paddle.randn([4, 3, 48, 48])
    first, second = model(x)
    assert first.shape == second.shape == [4, 5]
    model = settled(model)
    pooled = model.forward_features(x).mean([2, 3])
    wanted = (model.head(pooled) + model.head_dist(pooled)) / 2
    assert ((model(x) - wanted).abs().max() < 1e-5 * wanted.std()).item()


def test_without_a_teacher_there_is_one_classifier():
    model = small(distilled=False)
    assert model(paddle.randn([2, 3, 48, 48])).shape == [2, 5] and model.classifier_layers == ('head.l',)
    assert not [name for name in model.state_dict() if 'dist' in name]


def test_distances_are_those_of_the_published_table_and_end_at_its_edge():
    points = [(y, x) for y in range(4) for x in range(5)]
    wanted = [[min(abs(a[0] - b[0]), 2) * 3 + min(abs(a[1] - b[1]), 2) for b in points] for a in points if a[0] % 2 == a[1] % 2 == 0]
    assert distances(3, 4, 5, stride=2).tolist() == wanted
    assert (distances(3) == distances(3, 3, 3)).all()


def test_a_map_of_another_size_takes_the_biases_of_the_same_distances():
    """The attention of a corner to itself and its neighbours does not change when the map grows."""
    layer = AttentionSubsample(16, 24, 8, 2, side=3)
    layer.attention_biases.set_value(paddle.randn([2, 9]))
    own, larger = layer.biases(3, 3), layer.biases(4, 6)
    assert own.shape == [2, 4, 9] and larger.shape == [2, 6, 24]
    assert (own[:, 0].reshape([2, 3, 3]) == larger[:, 0].reshape([2, 4, 6])[:, :3, :3]).all()


@pytest.mark.parametrize('height, width', [(1, 1), (33, 50), (80, 48)])
def test_takes_any_size(height, width):
    model = small().eval()
    maps = model.forward_finer(paddle.rand([1, 3, height, width]))
    assert [m.shape[2:] for m in maps] == [[-(-height // s), -(-width // s)] for s in (2, 4, 8, 16, 32, 64)]


def test_a_form_for_evaluation_has_one_classifier_and_gathered_biases():
    model, x = settled(small()), paddle.randn([2, 3, 48, 48])
    fused = ic.fuse(model)
    assert not [name for name in fused.state_dict() if 'dist' in name or '_mean' in name]
    assert sum('gathered' in layer._buffers for layer in fused.sublayers()) == 5
    for picture in (x, paddle.randn([1, 3, 64, 40])):
        wanted = model(picture)
        assert ((fused(picture) - wanted).abs().max() < 1e-4 * wanted.std()).item()


def test_a_phone_pools_every_second_pixel_of_odd_and_even_maps(float64):
    model = settled(small())
    ready = reparameterize(model, phone=True)
    assert sum(type(layer) is PooledSubsample for layer in ready.sublayers()) == 2
    for picture in (paddle.randn([1, 3, 48, 48]), paddle.randn([1, 3, 64, 40])):
        for wanted, found in zip(model.forward_intermediates(picture), ready.forward_intermediates(picture)):
            assert abs(found - wanted).max() < 1e-12 * wanted.std()


@pytest.mark.parametrize('style', ['official', 'timm'])
def test_weights_of_both_classifiers_are_wanted_for_evaluation(style):
    model = small()
    published = to_torch(model, style)
    lacking = {key: value for key, value in published.items() if 'dist' not in key}
    with pytest.raises(ic.UserError, match='missing: head_dist'):
        from_torch(model, lacking, style)
    alone = small(distilled=False)
    assert from_torch(alone, published, style).keys() == alone.state_dict().keys()


def test_the_authors_name_all_blocks_in_a_row_and_timm_by_stage():
    model = small()
    ours, timm = to_torch(model), to_torch(model, 'timm')
    for authors, other in {
            'blocks.0.m.qkv.c.weight': 'stages.0.blocks.0.attn.qkv.linear.weight',
            'blocks.1.m.2.bn.running_var': 'stages.0.blocks.0.mlp.ln2.bn.running_var',
            'blocks.2.q.1.c.weight': 'stages.1.downsample.attn_downsample.q.ln.linear.weight',
            'blocks.3.m.0.c.weight': 'stages.1.downsample.mlp.ln1.linear.weight',
            'blocks.5.m.0.bn.bias': 'stages.1.blocks.0.mlp.ln1.bn.bias', 'head_dist.l.bias': 'head_dist.linear.bias',
            'patch_embed.6.c.weight': 'stem.conv4.linear.weight'}.items():
        assert (ours[authors] == timm[other]).all()
    assert ours['blocks.2.attention_bias_idxs'].shape == (4, 9) and not any('idxs' in key for key in timm)


@pytest.mark.parametrize('key, value, words', [('KEY_DIM', 24, 'a multiple of KEY_DIM 24'), ('DIMS', [128, 256], '3 values'),
                                               ('DIMS', [100, 200, 300], 'multiple'), ('SIDE', 0, 'SIDE is 0')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('levit_128s', {f'MODEL.LEVIT.{key}': value}))
