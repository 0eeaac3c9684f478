import paddle
import pytest
from paddle import nn

from image_classification.deploy.complexity import count_macs, count_parameters
from tests.networks import shallow


class Computing(nn.Layer):
    """Whatever `compute(x)` does with an input (1, 3, 8, 8)."""

    def __init__(self, compute):
        super().__init__()
        self.compute = compute

    def forward(self, x):
        return self.compute(x)


def rows(x):
    return x.flatten(2)                                            # (1, 3, 64)


def test_mobilenet_v2_costs_the_300_million_of_its_paper():
    assert count_macs(paddle.vision.models.mobilenet_v2(), 224) == 300_774_272


@pytest.mark.parametrize('layer, macs', [
    (nn.Conv2D(3, 6, 3, padding=1), 8 * 8 * 6 * 3 * 9),
    (nn.Conv2D(3, 6, 3, stride=2, padding=1, groups=3), 4 * 4 * 6 * 9),
    (nn.Conv2DTranspose(3, 6, 2, stride=2), 16 * 16 * 6 * 3),
    (nn.Linear(8, 5), 3 * 8 * 8 * 5),
    (nn.Sequential(nn.BatchNorm2D(3), nn.ReLU(), nn.AvgPool2D(2)), 0),
    (Computing(lambda x: paddle.matmul(rows(x), rows(x), transpose_y=True)), 3 * 3 * 64),
    (Computing(lambda x: paddle.matmul(rows(x), rows(x), transpose_x=True)), 64 * 64 * 3),
    (Computing(lambda x: paddle.bmm(x[0], x[0])), 3 * 8 * 8 * 8),
    (Computing(lambda x: paddle.addmm(x[0, 0], x[0, 0], x[0, 1])), 8 * 8 * 8),
    (Computing(lambda x: paddle.einsum('bchw,bdhw->bcd', x, x)), 3 * 3 * 64),
    (Computing(lambda x: nn.functional.scaled_dot_product_attention(x, x, x)), 2 * 3 * 8 * 3 * 8),
])
def test_each_operator_costs_what_it_multiplies(layer, macs):
    assert count_macs(layer, 8) == macs


def test_an_operator_without_a_formula_is_no_silent_zero():
    offset = paddle.zeros([1, 18, 8, 8])
    weight = paddle.ones([4, 3, 3, 3])
    layer = Computing(lambda x: paddle.vision.ops.deform_conv2d(x, offset, weight, padding=1))
    with pytest.raises(RuntimeError, match='no formula for the operator deformable_conv'):
        count_macs(layer, 8)


def test_the_cost_is_that_of_the_channels_the_network_takes():
    grey, colour = (shallow('mobileformer_26m', MODEL__IN_CHANNELS=channels) for channels in (1, 3))
    assert count_macs(colour, 64) - count_macs(grey, 64) == 2 * 8 * 9 * 32 * 32


def test_parameters_are_the_trainable_ones():
    assert count_parameters(nn.Sequential(nn.Conv2D(3, 4, 1), nn.BatchNorm2D(4))) == 3 * 4 + 4 + 2 * 4


def test_counting_changes_nothing():
    model = shallow('mobileformer_26m')
    model.head.eval()
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    before = [(layer.training, vars(layer).get('forward')) for layer in model.sublayers(include_self=True)]
    count_macs(model, 64)
    assert [(layer.training, vars(layer).get('forward')) for layer in model.sublayers(include_self=True)] == before
    assert all((tensor.numpy() == state[name]).all() for name, tensor in model.state_dict().items())
