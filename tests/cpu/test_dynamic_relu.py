"""Dynamic ReLU without the C++ operators."""
import itertools

import numpy as np
import paddle
import pytest

from image_classification.layers import dynamic_relu
from image_classification.cpu import operators


def values_and_gradients(function, x, slopes, offsets, weights):
    tensors = [x, *slopes, *(offsets or [])]
    for tensor in tensors:
        tensor.clear_gradient(set_to_zero=False)
    y = function(x, slopes, offsets)
    if not y.stop_gradient:
        (y * weights).sum().backward()
    return [y.numpy(), *(None if tensor.grad is None else tensor.grad.numpy() for tensor in tensors)]


def plain(x, slopes, offsets):
    lines = [x * slope for slope in slopes]
    return paddle.stack([line + offset for line, offset in zip(lines, offsets)] if offsets else lines).max(0)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('with_offsets', [False, True])
@pytest.mark.parametrize('pieces', [1, 2, 3])
def test_it_is_the_largest_of_the_lines_with_its_gradients(monkeypatch, pieces, with_offsets, dtype):
    monkeypatch.setattr(operators, 'serves', lambda x: False)
    weights = paddle.randn([2, 3, 4, 5], dtype)
    for x_learns, slopes_learn, offsets_learn in itertools.product([False, True], repeat=3):
        x = paddle.randn([2, 3, 4, 5], dtype)
        slopes, offsets = ([paddle.randn([2, 3, 1, 1], dtype) for _ in range(pieces)] for _ in range(2))
        for tensor, learns in zip([x, *slopes, *offsets], [x_learns] + pieces * [slopes_learn] + pieces * [offsets_learn]):
            tensor.stop_gradient = not learns
        both = [values_and_gradients(function, x, slopes, offsets if with_offsets else None, weights)
                for function in (dynamic_relu, plain)]
        for ours, expected in zip(*both):
            assert (ours is None) == (expected is None)
            if ours is not None:
                np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('with_offsets', [False, True])
@pytest.mark.parametrize('pieces', [1, 2, 3])
def test_traced_it_is_the_same(pieces, with_offsets):
    def lines_of(x, lines):
        return dynamic_relu(x, lines[0].unbind(0), lines[1].unbind(0) if with_offsets else None)

    x, lines = paddle.randn([2, 3, 4, 5]), paddle.randn([2, pieces, 2, 3, 1, 1])
    specs = [paddle.static.InputSpec(shape, 'float32') for shape in ([-1, 3, -1, -1], [2, pieces, -1, 3, 1, 1])]
    traced = paddle.jit.to_static(lines_of, input_spec=specs, full_graph=True)
    expected = plain(x, list(lines[0]), list(lines[1]) if with_offsets else None)
    np.testing.assert_allclose(traced(x, lines).numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_where_both_lines_meet_each_gets_half_of_the_gradient(monkeypatch):
    monkeypatch.setattr(operators, 'serves', lambda x: False)
    x, slopes = paddle.zeros([1, 1, 1, 3]), [paddle.full([1, 1, 1, 1], value) for value in (3.0, 1.0)]
    for tensor in (x, *slopes):
        tensor.stop_gradient = False
    dynamic_relu(x, slopes).sum().backward()
    assert x.grad.flatten().tolist() == [2.0] * 3
