"""Attention between a map and a few tokens."""
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from image_classification.cpu.heads import per_head, read_map, softmax_by_rows, softmax_of_tokens


@pytest.mark.parametrize('pixels', [1, 49, 149, 150, 3136])
@pytest.mark.parametrize('tokens', [1, 2, 3, 6])
def test_the_softmax_of_tokens_and_its_gradient_are_paddles(tokens, pixels):
    scores, weights = paddle.randn([2, 4, tokens, pixels]) * 5, paddle.randn([2, 4, tokens, pixels])
    results = []
    for softmax in (softmax_of_tokens, lambda s: F.softmax(s, axis=2)):
        given = scores.detach()
        given.stop_gradient = False
        out = softmax(given)
        (out * weights).sum().backward()
        results.append((out.numpy(), given.grad.numpy()))
    for ours, paddles in zip(*results):
        np.testing.assert_allclose(ours, paddles, rtol=1e-5, atol=1e-5)


def test_the_softmax_of_tokens_stays_finite_for_large_scores():
    scores = paddle.to_tensor([1e4, -1e4, 3e38]).reshape([1, 1, 3, 1]).expand([1, 1, 3, 600])
    np.testing.assert_allclose(softmax_of_tokens(scores)[0, 0, :, 0].numpy(), [0, 0, 1], atol=1e-30)


@pytest.mark.parametrize('pixels', [1, 2, 60])
def test_tokens_read_a_map_as_einsum_says(pixels):
    attn, keys = paddle.rand([2, 4, 3, pixels]), paddle.rand([2, 4, 5, pixels])
    expected = paddle.einsum('bhml,bhcl->bhmc', attn, keys)
    np.testing.assert_allclose(read_map(attn, keys).numpy(), expected.numpy(), rtol=1e-5)
    static = paddle.jit.to_static(read_map, full_graph=True)
    np.testing.assert_allclose(static(attn, keys).numpy(), expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize('tokens, pixels', [(1, 60), (3, 1), (3, 60), (6, 200)])
def test_traced_row_by_row_the_softmax_of_tokens_is_the_same(tokens, pixels):
    scores = paddle.randn([2, 4, tokens, pixels])
    static = paddle.jit.to_static(softmax_by_rows, full_graph=True)
    found = static(scores)
    kinds = {op.name() for op in static.concrete_program.main_program.global_block().ops}
    np.testing.assert_allclose(found.numpy(), F.softmax(scores, axis=2).numpy(), rtol=1e-5, atol=1e-6)
    assert 'pd_op.softmax' not in kinds


def test_each_head_has_its_own_layer_eager_and_traced():
    tokens, weight = paddle.randn([2, 4, 3, 8]), paddle.randn([4, 8, 5])
    expected = paddle.einsum('bhmd,hde->bhme', tokens, weight)
    static = paddle.jit.to_static(per_head, full_graph=True)
    for found in (per_head(tokens, weight), static(tokens, weight)):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
