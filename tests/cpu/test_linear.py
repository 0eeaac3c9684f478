"""Linear layers whose bias is added by an operator; that operator is tested in test_operators.py."""
import copy

import numpy as np
import paddle
import pytest

from image_classification.layers import Linear


@pytest.mark.parametrize('shape', [(3, 8), (4, 700, 8)])
def test_it_computes_what_paddles_does(shape):
    layer, x = Linear(8, 5), paddle.randn(shape)
    assert type(layer) is paddle.nn.Linear and sorted(layer.state_dict()) == ['bias', 'weight']
    np.testing.assert_allclose(layer(x), x.numpy() @ layer.weight.numpy() + layer.bias.numpy(), atol=1e-5)


def test_a_copy_computes_with_its_own_weights():
    layer = Linear(8, 5)
    other = copy.deepcopy(layer)
    other.weight.set_value(paddle.zeros([8, 5]))
    other.bias.set_value(paddle.ones([5]))
    np.testing.assert_array_equal(other(paddle.randn([3000, 8])), np.ones([3000, 5]))
    assert layer(paddle.randn([3, 8])).std() > 0.1
