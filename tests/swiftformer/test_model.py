import paddle
import pytest
import paddle.nn.functional as F

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.swiftformer import SwiftFormer
from image_classification.swiftformer.model import EfficientAdditiveAttention, SwiftFormerEncoder
from image_classification.weights import from_torch, to_torch
from tests.networks import outline, settled

PARAMETERS = {'xs': 3_475_360, 's': 6_092_128, 'l1': 12_057_920, 'l3': 28_494_736}                   # of timm's networks


def small(distilled=True, **others):
    model = SwiftFormer(5, 3, [8, 8, 16, 16], [2, 1, 1, 1], distilled, **others)
    model.config = ic.get_config('swiftformer_xs', {'DATA.IMAGE_SIZE': 64})
    return model


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'swiftformer_{variant}')) == PARAMETERS[variant]


def test_the_last_block_of_each_stage_has_attention():
    stages = [outline('swiftformer_xs').network[i] for i in (0, 2, 4, 6)]
    assert [[isinstance(block, SwiftFormerEncoder) for block in stage].index(True) for stage in stages] == [2, 2, 5, 3]


def test_attention_sums_up_all_queries_by_their_weights():
    layer, x = EfficientAdditiveAttention(6), paddle.randn([1, 5, 6])
    query, key = (F.normalize(part(x)[0], axis=1) for part in (layer.to_query, layer.to_key))
    weights = [(row * layer.w_g[:, 0]).sum() for row in query]
    length = sum(weight ** 2 for weight in weights) ** 0.5
    summed = sum(weight / length * row for weight, row in zip(weights, query))
    wanted = layer.final(layer.Proj(key * summed) + query)
    assert paddle.allclose(layer(x)[0], wanted, atol=1e-6)


def test_training_gives_both_classifiers_and_evaluation_their_mean():
    model, x = small(), paddle.randn([2, 3, 64, 64])
    first, second = model(x)
    assert first.shape == second.shape == [2, 5]
    pooled = settled(model).forward_features(x).mean([2, 3])
    wanted = (model.head(pooled) + model.dist_head(pooled)) / 2
    assert ((model(x) - wanted).abs().max() < 1e-5 * wanted.std()).item()
    assert small(distilled=False)(x).shape == [2, 5]


def test_a_form_for_evaluation_gives_the_same_at_any_size():
    model = settled(small())
    for name, value in model.named_parameters():
        if 'layer_scale' in name:
            value.set_value(0.3 + 0.1 * paddle.randn(value.shape))
    fused = ic.fuse(model)
    assert not [name for name in fused.state_dict() if 'layer_scale' in name or 'dist_head' in name]
    for size in ((64, 64), (96, 33)):
        x = paddle.randn([2, 3, *size])
        assert ((fused(x) - model(x)).abs().max() < 1e-4 * model(x).std()).item()


def test_stochastic_depth_is_in_the_blocks_with_attention_alone():
    model = small(drop_path=0.4)
    rates = [[block.drop_path.p for block in model.network[i] if hasattr(block, 'drop_path')] for i in (0, 2, 4, 6)]
    assert rates == [[pytest.approx(0.1)], [pytest.approx(0.2)], [pytest.approx(0.3)], [pytest.approx(0.4)]]


def test_names_of_both_publishers_are_written_and_read():
    model = small()
    ours, timm = to_torch(model), to_torch(model, 'timm')
    for authors, other in {'patch_embed.3.weight': 'stem.3.weight', 'network.1.proj.weight': 'stages.1.downsample.proj.weight',
                           'network.0.0.layer_scale': 'stages.0.blocks.0.layer_scale.gamma',
                           'network.6.0.attn.Proj.weight': 'stages.3.blocks.0.attn.proj.weight',
                           'network.6.0.local_representation.layer_scale': 'stages.3.blocks.0.local_representation.layer_scale.gamma',
                           'network.6.0.layer_scale_2': 'stages.3.blocks.0.layer_scale_2.gamma',
                           'dist_head.weight': 'head_dist.weight'}.items():
        assert (ours[authors] == timm[other]).all()
    for state, style in ((ours, 'official'), (timm, 'timm')):
        back = from_torch(model, state, style)
        assert all((back[name] == value.numpy()).all() for name, value in model.state_dict().items())
