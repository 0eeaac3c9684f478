import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from image_classification.layers import GELU, gelu


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_gelu_and_its_gradient_are_paddles(dtype):
    results = []
    for function in (gelu, F.gelu):
        x = paddle.linspace(-9, 9, 301, dtype=dtype)
        x.stop_gradient = False
        y = function(x)
        y.backward(paddle.linspace(1, 2, 301, dtype=dtype))
        results.append([y.numpy(), x.grad.numpy()])
    np.testing.assert_allclose(*results, rtol=0, atol=2e-6 if dtype == 'float32' else 1e-14)


def test_a_layer_keeps_the_approximate_form_that_it_was_asked_for():
    x = paddle.linspace(-3, 3, 7)
    assert (GELU(approximate=True)(x) == F.gelu(x, approximate=True)).all()
    assert (GELU()(x) - F.gelu(x)).abs().max() < 1e-6
