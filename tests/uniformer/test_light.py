import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.uniformer import UniFormerLight
from image_classification.uniformer.light import EvoSABlock, pool_scores
from tests.golden import Recording
from tests.networks import outline

TINY = {'num_classes': 5, 'depths': (1, 1, 3, 2), 'dims': (8, 16, 32, 64), 'head_dim': 16}


def block(keep_ratio=0.5, trade_off=0.5):
    """An EvoSABlock of 8 channels and two heads, fully random, in evaluation."""
    layer = EvoSABlock(keep_ratio, trade_off, 8, 2, 3.0, True, 0.0, 0.0, 0.0, 0.0, layer_scale=0.0).eval()
    for parameter in layer.parameters():
        parameter.set_value(paddle.randn(parameter.shape))
    return layer


def tokens_of(x):                                                  # (B, C, H, W)
    return x.flatten(2).transpose([0, 2, 1]).numpy()               # (B, H*W, C)


@pytest.mark.parametrize('variant, count', [('xxs', 10_215_280), ('xs', 16_509_264)])
def test_has_the_recorded_number_of_parameters(variant, count):
    model = outline(f'uniformer_{variant}')
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == count


def test_has_the_published_names_in_their_order():
    keys = [key.replace('running_mean', '_mean').replace('running_var', '_variance')
            for key, *_ in Recording('uniformer_xxs').meta['keys'] if not key.endswith('num_batches_tracked')]
    assert list(outline('uniformer_xxs').state_dict()) == keys


def test_pruned_tokens_get_the_same_addition_and_the_better_half_their_own():
    layer, x = block(), paddle.randn((2, 8, 2, 3))
    scores = paddle.to_tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 6.0, 2.0, 5.0, 3.0, 4.0]])
    _, out, _ = layer(paddle.randn((2, 1, 8)), x, scores)
    added = tokens_of(out) - tokens_of(x + layer.pos_embed(x))
    for image, pruned in enumerate(([3, 4, 5], [0, 2, 4])):
        shared = np.isclose(added[image], added[image, pruned[0]], atol=1e-4).all(-1)
        assert list(np.flatnonzero(shared)) == pruned


def test_scores_of_kept_tokens_follow_the_class_tokens_attention():
    """All tokens at first; then kept ones by the trade-off, pruned ones not at all."""
    x, cls_token = paddle.randn((2, 8, 2, 3)), paddle.randn((2, 1, 8))
    _, _, first = block(keep_ratio=1.0)(cls_token, x, None)
    assert first.shape == [2, 6] and (first.sum(1) < 1.00001).all()  # the rest goes to the class token itself
    scores = paddle.to_tensor([[6.0, 1.0, 5.0, 2.0, 4.0, 3.0]] * 2)
    _, _, later = block(trade_off=0.5)(cls_token, x, scores)
    assert (later[:, [1, 3, 5]] == scores[:, [1, 3, 5]]).all()
    assert (later[:, [0, 2, 4]] <= 0.5 * scores[:, [0, 2, 4]] + 0.5001).all()
    assert (later[:, [0, 2, 4]] >= 0.4999 * scores[:, [0, 2, 4]]).all()


def test_a_token_that_is_pruned_alone_is_scored_too():
    _, _, scores = block()(paddle.randn((1, 1, 8)), paddle.randn((1, 8, 1, 2)), paddle.to_tensor([[9.0, 8.0]]))
    assert (scores <= 5.0001).all()


def test_the_order_of_tokens_does_not_matter_without_position_embedding():
    layer, x, cls_token = block(), paddle.randn((1, 8, 1, 6)), paddle.randn((1, 1, 8))
    layer.pos_embed.weight.set_value(paddle.zeros(layer.pos_embed.weight.shape))
    scores, order = paddle.rand((1, 6)), [3, 0, 5, 1, 4, 2]
    shuffled = [part.numpy() for part in layer(cls_token, x[:, :, :, order], scores[:, order])]
    in_order = [part.numpy() for part in layer(cls_token, x, scores)]
    for found, wanted in zip(shuffled, (in_order[0], in_order[1][:, :, :, order], in_order[2][:, order])):
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)


def test_scores_keep_their_sum_from_stage_to_stage():
    pooled = pool_scores(paddle.rand((2, 5 * 7)), 5, 7)
    assert pooled.shape == [2, 2 * 3]
    scores = paddle.arange(16, dtype='float32').reshape([1, 16])
    np.testing.assert_allclose(pool_scores(scores, 4, 4).numpy(), [[10.0, 18.0, 42.0, 50.0]])


def test_gives_the_class_tokens_logits_besides_in_training_only():
    model = UniFormerLight(**TINY)
    x = paddle.rand((2, 3, 64, 64))
    outputs = model(x)
    assert isinstance(outputs, tuple) and [output.shape for output in outputs] == [[2, 5], [2, 5]]
    model.eval()
    features = model.forward_features(x)
    assert [feature.shape for feature in features] == [[2, 64, 2, 2], [2, 1, 64]]
    assert model(x).shape == [2, 5] and (model.forward_head(features) == model(x)).all()


def test_an_image_is_classified_the_same_whatever_its_batch_mates():
    model = Recording('uniformer_xxs').fill(ic.create_model('uniformer_xxs')).eval()
    x = paddle.randn((3, 3, 64, 96))
    alone = model(x[1:2]).numpy()
    np.testing.assert_allclose(model(x)[1:2].numpy(), alone, atol=1e-4 * alone.std())


@pytest.mark.parametrize('option', [{}, {'keep_ratio': 1.0}, {'keep_ratio': 0.3}, {'conv_stem': False}, {'qkv_bias': False},
                                    {'layer_scale': 0.1}, {'dropout': 0.1, 'drop_path': 0.1, 'attn_dropout': 0.1}])
def test_every_option_trains_every_parameter(option):
    model = UniFormerLight(**TINY, **option)
    logits, cls_logits = model(paddle.rand((4, 3, 64, 64)))
    (logits.sum() + cls_logits.sum()).backward()
    assert all(p.grad is not None for p in model.parameters() if not p.stop_gradient)


def test_layer_scale_is_in_all_blocks_and_three_times_where_tokens_are_pruned():
    gammas = [name for name, _ in UniFormerLight(layer_scale=1e-6, **TINY).named_parameters() if 'gamma' in name]
    counts = {block: sum(name.startswith(f'{block}.') for name in gammas) for block in ('blocks1.0', 'blocks3.0', 'blocks3.1')}
    assert counts == {'blocks1.0': 2, 'blocks3.0': 2, 'blocks3.1': 3}


def test_takes_images_of_29_pixels_and_refuses_28():
    model = UniFormerLight(**TINY).eval()
    assert paddle.isfinite(model(paddle.rand((2, 3, 29, 64)))).all()
    with pytest.raises(ic.UserError, match='at least 29 x 29 pixels, found 28 x 64'):
        model(paddle.rand((2, 3, 28, 64)))


def test_a_new_classifier_replaces_both_heads():
    model = UniFormerLight(**TINY)
    model.reset_classifier(7)
    assert [output.shape for output in model(paddle.rand((2, 3, 64, 64)))] == [[2, 7], [2, 7]]


def test_the_class_token_takes_no_weight_decay():
    model = UniFormerLight(**TINY)
    assert model.no_weight_decay() == {'cls_token'} <= {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize('key', ['KEEP_RATIO', 'TRADE_OFF'])
def test_shares_outside_0_to_1_are_refused(key):
    with pytest.raises(ic.UserError, match=f'{key} is 1.5'):
        ic.create_model(ic.get_config('uniformer_xxs', {f'MODEL.UNIFORMER.LIGHT.{key}': 1.5}))
