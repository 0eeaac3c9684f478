import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import image_classification as ic
from image_classification.weights import from_torch
from tests.golden import Recording, standard_normal
from tests.networks import outline

PARAMETERS = {'26m': 3_232_788, '52m': 3_469_092, '96m': 4_585_252, '151m': 7_595_828, '214m': 9_425_920, '294m': 11_422_648,
              '508m': 13_976_976}


@pytest.fixture(scope='module')
def small():
    """The smallest network in evaluation, for tests that leave it as it is."""
    return ic.create_model('mobileformer_official_26m', num_classes=4).eval()


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_recorded_number_of_parameters(variant):
    model = outline(f'mobileformer_official_{variant}')
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == PARAMETERS[variant]


def test_training_equals_the_recorded_step(float64):
    """Loss, the norm of every gradient, and the running means afterwards."""
    recorded, network = Recording('train_mobile_former_26m'), Recording('mobile_former_26m')
    model = network.fill(ic.create_model('mobileformer_official_26m', drop_rate=0.0)).train()
    meta, arrays = recorded.meta, recorded.arrays
    x = paddle.to_tensor(standard_normal(meta['input']['seed'], meta['input']['shape']).astype('float64'))
    loss = F.cross_entropy(model(x), paddle.to_tensor(meta['labels']))
    loss.backward()
    assert loss.item() == pytest.approx(meta['loss_float64'], rel=1e-9)
    gradients = {name: p.grad.norm().item() for name, p in model.named_parameters() if not p.stop_gradient}
    found = [gradients.pop(name) for name in meta['params']]
    np.testing.assert_allclose(found, arrays['grad_norm'], rtol=1e-5, atol=1e-10 * arrays['grad_norm'].max())
    assert not gradients
    state = model.state_dict()
    means = {name: i for i, name in enumerate(meta['buffers']) if name.endswith('running_mean')}
    found = [state[name.replace('running_mean', '_mean')].norm().item() for name in means]
    np.testing.assert_allclose(found, arrays['buffer_norm_after'][list(means.values())], rtol=1e-6)


def test_published_weights_fit_by_name():
    network = Recording('mobile_former_96m')
    state = from_torch(ic.create_model('mobileformer_official_96m'), network.torch_state())
    assert len(state) == sum(not key.endswith('num_batches_tracked') for key, *_ in network.meta['keys'])


def test_the_keys_bias_of_the_bridge_to_the_map_has_no_effect(float64):
    model = ic.create_model('mobileformer_official_26m').eval()
    x = paddle.rand((1, 3, 64, 64))
    before = model(x)
    for block in model.features[1:]:
        block.global_local.k.bias.set_value(paddle.randn(block.global_local.k.bias.shape))
    np.testing.assert_allclose(model(x).numpy(), before.numpy(), atol=1e-10)


def test_a_channel_shuffle_deals_the_groups_in_turn(small):
    x = paddle.arange(8, dtype='float32').reshape([1, 8, 1, 1])
    shuffle = small.features[1].conv1[2]
    assert shuffle.groups == 4
    assert shuffle(x).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_only_grouped_variants_shuffle():
    layers = ic.create_model('mobileformer_official_52m').sublayers()
    assert not any(type(layer).__name__ == 'ChannelShuffle' for layer in layers)


@pytest.mark.parametrize('size', [(1, 1), (32, 32), (65, 97)])
def test_takes_images_of_any_size(small, size):
    assert small(paddle.rand((2, 3, *size))).shape == [2, 4]


def test_scores_show_where_each_token_looks(small):
    found = []
    hook = small.local_global.register_forward_post_hook(lambda layer, inputs, output: found.append(output[1]))
    small(paddle.rand((2, 3, 64, 96)))
    hook.remove()
    assert found[0].shape == [2, 2, 3, 2, 3]                       # (B, heads, T, H, W)


def test_head_follows_features(small):
    x = paddle.rand((2, 3, 64, 64))
    features = small.forward_features(x)
    assert [f.shape for f in features] == [[2, 576, 2, 2], [2, 3, 128]]
    assert (small.forward_head(features) == small(x)).all()


@pytest.mark.parametrize('variant, channels', [('26m', (8, 12, 24, 64, 96)), ('508m', (24, 40, 72, 176, 240))])
def test_gives_the_last_map_at_each_stride(variant, channels):
    features = ic.create_model(f'mobileformer_official_{variant}', features_only=True).eval()
    assert (features.channels, features.strides) == (channels, (2, 4, 8, 16, 32))
    assert [f.shape for f in features(paddle.rand((1, 3, 64, 96)))] == [
        [1, c, 64 // s, 96 // s] for c, s in zip(features.channels, features.strides)]


def test_a_new_classifier_replaces_what_the_network_says():
    model = ic.create_model('mobileformer_official_26m').eval()
    before = {name: value.shape for name, value in model.state_dict().items()}
    model.reset_classifier(5)
    assert model(paddle.rand((2, 3, 64, 64))).shape == [2, 5]
    changed = [name for name, value in model.state_dict().items() if value.shape != before[name]]
    assert changed == [f'{model.classifier_layers[0]}.weight', f'{model.classifier_layers[0]}.bias']


def test_is_initialized_as_the_authors_do():
    paddle.seed(0)
    model = ic.create_model('mobileformer_official_26m')
    assert model.tokens.weight.std().item() == pytest.approx(1.0, rel=0.15)
    assert model.features[8].hyper1.hyper[0].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert model.features[8].conv1[0].weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.1)


def test_drop_path_rises_from_block_to_block():
    model = ic.create_model('mobileformer_official_26m', drop_path=0.9)
    assert [block.drop_path.p for block in model.features[1:]] == pytest.approx([0.1 * i for i in range(2, 10)])
    assert model.local_global.drop_path.p == 0.9
    assert model(paddle.rand((2, 3, 64, 64))).shape == [2, 1000]


@pytest.mark.parametrize('key, value, words', [
    ('BLOCK.STRIDES', [1, 2], 'lists of MODEL.BLOCK'), ('TOKENS', [3, 130], 'TOKENS is'), ('TOKEN_HEADS', 5, 'TOKENS is'),
    ('POINTWISE_GROUPS', 5, 'multiples of 10'), ('STEM_CHANNELS', 10, 'lite block has 30')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('mobileformer_official_26m', {f'MODEL.{key}': value}))
