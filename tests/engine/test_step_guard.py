"""Which gradients may reach the weights; what becomes of the others is in test_faults.py."""
import paddle
import pytest
from paddle import nn

from image_classification.engine.processes.distributed import Group
from image_classification.engine.flat import FlatOptimizer
from image_classification.engine.step_guard import StepGuard


def sgd(parameters, decayed):
    return paddle.optimizer.SGD(0.1, parameters)


@pytest.mark.parametrize('flat', [False, True])
@pytest.mark.parametrize('value, passes', [(1.0, True), (3e38, True), (-3e38, True), (float('inf'), False),
                                           (float('nan'), False)])
def test_only_finite_gradients_pass_however_large(flat, value, passes):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1D(2))
    gather = FlatOptimizer(sgd, [p for p in model.parameters() if not p.stop_gradient], set()).gather if flat else None
    guard = StepGuard(model, Group(), 3, gather)
    guard.begin()
    model(paddle.ones([2, 3])).sum().backward()
    weight = model[0].weight
    weight.grad.set_value(paddle.full_like(weight, value))         # large ones overflow when they are summed
    assert guard.passes([paddle.ones([])], False) == passes
