import numpy as np
import paddle
import pytest

from image_classification.cpu.attention import attended, attention_weights, split_by_head, split_by_part

HEADS, PARTS, TOKENS = 3, [4, 4, 8], 5


def of_heads(tokens, biases):
    return attended(attention_weights(*split_by_head(tokens, HEADS, PARTS)[:2], 0.5, biases), split_by_head(tokens, HEADS, PARTS)[2])


def of_parts(tokens, biases):
    query, key, value = split_by_part(tokens, HEADS)
    return attended(attention_weights(query, key, 0.5, biases), value)


def by_einsum(query, key, value, biases):
    """From parts (B, N, heads, d)."""
    scores = np.exp(0.5 * np.einsum('bnhd,bmhd->bhnm', query, key) + biases)
    read = np.einsum('bhnm,bmhd->bnhd', scores / scores.sum(-1, keepdims=True), value)
    return read.reshape([*read.shape[:2], -1])


@pytest.mark.parametrize('traced', [False, True])
@pytest.mark.parametrize('attention', [of_heads, of_parts])
def test_attention_equals_einsum_in_both_layouts(attention, traced):
    tokens, biases = paddle.randn([2, TOKENS, HEADS * (16 if attention is of_heads else 12)]), paddle.randn([HEADS, TOKENS, TOKENS])
    array = tokens.numpy()
    if attention is of_heads:
        parts = np.split(array.reshape([2, TOKENS, HEADS, 16]), np.cumsum(PARTS)[:2], axis=3)
    else:
        parts = [part.reshape([2, TOKENS, HEADS, 4]) for part in np.split(array, 3, axis=2)]
    run = paddle.jit.to_static(attention, full_graph=True) if traced else attention
    np.testing.assert_allclose(run(tokens, biases).numpy(), by_einsum(*parts, biases.numpy()), rtol=1e-4, atol=1e-5)


def test_other_queries_may_ask_and_biases_may_be_missing():
    query, = split_by_part(paddle.randn([2, 2, 12]), HEADS, 1)
    key, value = split_by_part(paddle.randn([2, TOKENS, 24]), HEADS, 2)
    weights = attention_weights(query, key, 1.0)
    assert weights.shape == [2, HEADS, 2, TOKENS] and attended(weights, value).shape == [2, 2, 12]
    np.testing.assert_allclose(weights.sum(-1).numpy(), 1, rtol=1e-5)
