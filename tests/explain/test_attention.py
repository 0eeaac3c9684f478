"""The weights are those that the layers use: times the values, they give what the layers give."""
import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.errors import UserError
from image_classification.explain import AttentionMap, attention_maps
from tests.networks import settled

FAMILIES = ['mobileformer_26m', 'mobileformer_official_26m', 'uniformer_small', 'uniformer_xxs', 'edgenext_xx_small',
            'edgenext_xx_small_bn_hs', 'efficientvit_m0', 'efficientvit_m0_yolo']
SMALLER = {'uniformer_small': {'MODEL.UNIFORMER.DIMS': [16, 32, 64, 128], 'MODEL.UNIFORMER.HEAD_DIM': 32,
                               'MODEL.UNIFORMER.DEPTHS': [1, 2, 2, 1]}}
HEIGHT, WIDTH = 96, 160                    # maps that EfficientViT's windows do not divide


@pytest.fixture(scope='module', params=FAMILIES)
def explained(request):
    """(network, its attention maps, {name: (inputs, output)} of each layer in a forward pass of ours)"""
    model, calls = settled(ic.create_model(ic.get_config(request.param, SMALLER.get(request.param, {})))), {}
    x = paddle.randn([1, 3, HEIGHT, WIDTH])
    found = attention_maps(model, x)
    for name, layer in model.named_sublayers():
        layer.register_forward_post_hook(lambda layer, inputs, output, name=name: calls.__setitem__(name, (inputs, output)))
    with paddle.no_grad():
        model.forward_features(x)
    return model, found, calls


def merged(weights, values):
    """(heads, queries, keys), (heads, keys, c) -> (queries, heads * c)"""
    return (weights @ values).transpose([1, 0, 2]).reshape([weights.shape[1], -1])


def heads_of(map_or_tokens, heads):
    """A map (1, C, ...) -> (heads, pixels, c); tokens (1, N, C) -> (heads, N, c)."""
    array = map_or_tokens[0].numpy()
    if array.ndim == 3:
        array = array.reshape([len(array), -1]).T
    return array.reshape([len(array), heads, -1]).transpose([1, 0, 2])


def to_pixels(map_):
    return map_[0].flatten(1).numpy().T                            # (H*W, C)


def products(found, layer, calls):
    """(weights times values, what the layer makes of them) of one AttentionMap, by its layer's kind."""
    name, weights, heads = found.layer, found.weights, len(found.weights)
    (inputs, output), kind = calls[name], type(layer).__name__
    if kind == 'ToFormer_Bridge':
        return merged(weights, heads_of(inputs[0], heads)), calls[f'{name}.output'][0][0][0].numpy()
    if kind == 'ToMobile_Bridge':
        return merged(weights, calls[f'{name}.heads_v_proj'][1][0].numpy()), to_pixels(output - inputs[0])
    if kind == 'Attention':
        value = calls[f'{name}.qkv_proj'][1].chunk(3, axis=-1)[2]
        return merged(weights, heads_of(value, heads)), calls[f'{name}.output'][0][0][0].numpy()
    if kind == 'LocalToGlobal':
        gate = np.clip(calls[f'{name}.alpha'][1][0].numpy() / 6 + 0.5, 0, 1) * 2
        return gate * merged(weights, heads_of(inputs[0], heads)), calls[f'{name}.proj'][0][0][0].numpy()
    if kind == 'GlobalBlock':
        return merged(weights, heads_of(inputs[0], heads)), calls[f'{name}.channel_mlp'][0][0][0].numpy()
    if kind == 'GlobalToLocal':
        return merged(weights, heads_of(calls[f'{name}.proj'][1], heads)), to_pixels(output - inputs[0])
    if kind in ('SABlock', 'EvoSABlock'):
        value = calls[f'{name}.attn.qkv'][1].chunk(3, axis=-1)[2]
        return merged(weights, heads_of(value, heads)), calls[f'{name}.attn.proj'][0][0][0].numpy()
    if kind == 'XCA':
        value = calls[f'{name}.qkv'][1].chunk(3, axis=1)[2][0].numpy().reshape([heads, weights.shape[1], -1])
        return (weights @ value).reshape([-1, value.shape[2]]), calls[f'{name}.proj'][0][0][0].numpy()
    return {'LocalWindowAttention': windowed, 'CBlock': convolved}[kind](found, layer, calls)


def windowed(found, layer, calls):
    """Each pixel's sum over its window, and the same pixel of what the heads give, (windows, C, w, w)."""
    side, w, name = layer.window, found.grid[1], f'{found.layer}.attn'
    across = -(-w // side)
    row, column = np.divmod(found.query_pixels, w)
    window, inner = row // side * across + column // side, row % side * side + column % side
    values = [calls[f'{name}.qkvs.{i}'][1].split(layer.attn.parts, axis=1)[2].flatten(2).numpy()
              for i in range(layer.attn.heads)]
    sums = [np.einsum('qk,qck->qc', weights, value[window]) for weights, value in zip(found.weights, values)]
    return np.concatenate(sums, 1), calls[f'{name}.proj.0'][0][0].flatten(2).numpy()[window, :, inner]


def convolved(found, layer, calls):
    """The patches around the inner pixels times the kernels, and what the convolution gives there."""
    inputs, output = calls[f'{found.layer}.attn']
    patches = np.lib.stride_tricks.sliding_window_view(inputs[0][0].numpy(), found.grid, (1, 2))  # (C, H - 4, W - 4, 5, 5)
    kernels, bias = found.weights[0].reshape([-1, *found.grid]), layer.attn.bias.numpy()[:, None, None]
    return np.einsum('chwij,cij->chw', patches, kernels) + bias, output[0, :, 2:-2, 2:-2].numpy()


def test_weights_times_values_are_what_the_layers_give(explained):
    model, maps, calls = explained
    layers = dict(model.named_sublayers())
    for found in maps:
        ours, theirs = products(found, layers[found.layer], calls)
        assert ours.shape == theirs.shape and np.abs(ours - theirs).max() < 2e-4 * theirs.std(), found.layer


def test_the_keys_of_each_query_sum_to_one(explained):
    for found in explained[1]:
        if found.kind != 'kernels':
            assert found.weights.min() >= 0 and np.allclose(found.weights.sum(2), 1, atol=1e-5), found.layer


def test_every_attention_layer_is_there_in_the_order_in_which_it_runs(explained):
    model, maps, _ = explained
    expected = {'mobileformer': ['tokens to map', 'tokens', 'map to tokens'] * 8 + ['tokens to map'],
                'uniformer_xxs': ['kernels'] * 7 + ['pixels'] * 10, 'uniformer_small': ['kernels'] * 3 + ['pixels'] * 3,
                'edgenext': ['channels'] * 3, 'efficientvit': ['windows'] * 6}
    [wanted] = [kinds for name, kinds in expected.items() if model.config.MODEL.NAME.startswith(name)]
    assert [found.kind for found in maps] == wanted


def test_a_picture_of_the_weights_has_them_all(explained):
    for found in explained[1]:
        if found.kind in ('tokens', 'channels', 'kernels'):
            continue
        for index in (0, 1):
            pictures = found.over_picture(index)
            assert pictures.shape == (len(found.weights), *found.grid)
            column = found.weights[:, :, index] if found.kind == 'map to tokens' else found.weights[:, index]
            outside = 0 if found.key_pixels is None else np.broadcast_to(found.key_pixels, found.weights.shape[1:])[index] < 0
            assert np.allclose(pictures.sum((1, 2)), np.where(outside, 0, column).sum(1), atol=1e-4)


def test_pixels_that_light_blocks_keep_stand_where_they_came_from():
    model, calls = settled(ic.create_model('uniformer_xxs')), {}
    x = paddle.randn([1, 3, HEIGHT, WIDTH])
    block = model.blocks3[3]
    block.norm1.register_forward_post_hook(lambda layer, inputs, output: calls.update(tokens=inputs[0]))
    block.pos_embed.register_forward_post_hook(lambda layer, inputs, output: calls.update(map=inputs[0] + output))
    found = next(found for found in attention_maps(model, x) if found.layer == 'blocks3.3')
    kept = found.key_pixels[1:-1]
    assert len(set(kept)) == len(kept) == 6 * 10 // 2 and found.key_pixels[0] == found.key_pixels[-1] == -1
    assert np.array_equal(calls['tokens'][0, 1:-1].numpy(), to_pixels(calls['map'])[kept])


def test_a_windows_keys_are_the_pixels_of_the_window():
    found = attention_maps(ic.create_model('efficientvit_m0'), np.zeros((3, HEIGHT, WIDTH), np.float32))[0]
    assert found.grid == (6, 10) and found.key_pixels.shape == (60, 49)
    assert found.key_pixels[12].reshape(7, 7).tolist() == [[r * 10 + c if r < 6 else -1 for c in range(7)] for r in range(7)]
    assert found.key_pixels[59].reshape(7, 7)[5].tolist() == [57, 58, 59, -1, -1, -1, -1]


def test_a_place_in_the_picture_is_a_query():
    grid = np.arange(6)
    found = AttentionMap('layer', 'pixels', np.eye(6, dtype=np.float32)[None], (2, 3), grid, grid)
    assert [found.query_at(*place) for place in ((0, 0), (0.9, 0.4), (1, 1))] == [0, 4, 5]
    assert found.over_picture(4)[0].tolist() == [[0, 0, 0], [0, 1, 0]] and np.allclose(found.over_picture(), 1 / 6)
    few = AttentionMap('layer', 'pixels', np.eye(2, dtype=np.float32)[None], (2, 3), np.array([-1, 4]), np.array([-1, 4]))
    assert few.query_at(0, 0) is None and few.query_at(0.5, 0.5) == 1 and few.over_picture(0).max() == 0


def test_what_has_no_place_in_a_picture_is_said():
    tokens = AttentionMap('blocks.0.former.attn', 'tokens', np.ones((1, 1, 1), np.float32))
    with pytest.raises(UserError, match='attention among tokens, which have no place'):
        tokens.over_picture()
    found = attention_maps(ic.create_model('mobileformer_26m'), np.zeros((3, 64, 64), np.float32))[0]
    with pytest.raises(UserError, match='the index is 3; wanted 0 to 2 for blocks.0.toformer_bridge'):
        found.over_picture(3)


def test_a_network_without_attention_is_refused_and_others_are_left_as_they_were():
    with pytest.raises(UserError, match='MobileNetV1 has no attention; wanted a network of one of edgenext, '):
        attention_maps(ic.create_model('mobilenet_v1_x0_25'), np.zeros((3, 64, 64), np.float32))
    model = ic.create_model('edgenext_xx_small')
    attention_maps(model, np.zeros((3, 64, 64), np.float32))
    assert all(layer.training and not layer._forward_post_hooks for layer in model.sublayers())
    assert not model.parameters()[0].stop_gradient


def test_a_fused_network_attends_alike():
    model = settled(ic.create_model('mobileformer_26m'))
    image = paddle.randn([1, 3, 64, 64])
    for ours, fused in zip(attention_maps(model, image), attention_maps(ic.fuse(model), image), strict=True):
        assert ours.layer == fused.layer and np.allclose(ours.weights, fused.weights, atol=1e-3)
