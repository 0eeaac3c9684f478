"""Many small arrays as one: the same numbers as Paddle's own optimizer and as the formula of the moving average."""
import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.engine.ema import ModelEma
from image_classification.cpu.paddle_internals import coalesce
from image_classification.engine.flat import FlatOptimizer, to_arrays
from image_classification.engine.optim import build_optimizer


def config(**values):
    keys = {'DATA.IMAGE_SIZE': 32, 'MODEL.NUM_CLASSES': 3, **values}
    return ic.get_config('mobilenet_v1_x0_25', {key.replace('__', '.'): value for key, value in keys.items()})


class Training:
    """A network with an optimizer that gets random gradients, the same for every Training."""

    def __init__(self, cfg, flat=True):
        paddle.seed(0)
        self.model, self.steps = ic.create_model(cfg), 0
        self.optimizer = build_optimizer(cfg, self.model)
        assert isinstance(self.optimizer, FlatOptimizer)
        if not flat:
            own = self.optimizer
            self.optimizer = own.make(own.parameters, own.decayed)
        self.parameters = {name: p for name, p in self.model.named_parameters() if not p.stop_gradient}

    def step(self, count, skip=()):
        for _ in range(count):
            self.steps += 1
            rng = np.random.default_rng(self.steps)
            for name, parameter in self.parameters.items():
                gradient = rng.standard_normal(parameter.shape, np.float32)
                if not name.startswith(tuple(skip)):
                    parameter.grad = paddle.to_tensor(gradient)
            self.optimizer.set_lr(0.01 / self.steps)
            self.optimizer.step()
            self.optimizer.clear_grad()
            if not skip:
                assert all(parameter.grad is None or not parameter.grad.any() for parameter in self.parameters.values())
        return {name: parameter.numpy() for name, parameter in self.parameters.items()}


OPTIMIZERS = pytest.mark.parametrize('options', [
    {}, {'TRAIN__GRAD_CLIP': 1.0}, {'TRAIN__GRAD_CLIP': 0.1, 'TRAIN__GRAD_CLIP_MODE': 'value'},
    {'TRAIN__OPTIMIZER__NAME': 'SGD', 'TRAIN__OPTIMIZER__NESTEROV': True}, {'TRAIN__OPTIMIZER__NAME': 'RMSprop'},
    {'TRAIN__LAYER_DECAY': 0.7, 'TRAIN__HEAD_LR_SCALE': 3.0}])


@OPTIMIZERS
def test_the_steps_are_those_of_the_optimizer_over_each_array(options):
    cfg = config(**options)
    flat, plain = Training(cfg).step(5, ()), Training(cfg, flat=False).step(5, ())
    for name in plain:
        np.testing.assert_allclose(flat[name], plain[name], rtol=1e-5, atol=1e-7, err_msg=name)


@OPTIMIZERS
def test_arrays_that_begin_to_learn_later_begin_then(options):
    """A frozen part has no gradient at first; the optimizer's averages of it start when it has."""
    cfg, trainings = config(**options), []
    for flat in (True, False):
        trainings.append(Training(cfg, flat))
        trainings[-1].step(2, skip=['blocks.'])
    flat, plain = (training.step(3) for training in trainings)
    for name in plain:
        np.testing.assert_allclose(flat[name], plain[name], rtol=1e-5, atol=1e-7, err_msg=name)


@OPTIMIZERS
def test_its_state_is_that_of_the_networks_parameters(options):
    cfg = config(**options)
    flat, plain = Training(cfg), Training(cfg, flat=False)
    flat.step(3)
    plain.step(3)
    own = {p.name: other.name for p, other in zip(flat.parameters.values(), plain.parameters.values())}
    theirs, found = plain.optimizer.state_dict(), flat.optimizer.state_dict()
    assert len(found) == len([key for key in theirs if key != 'LR_Scheduler']) > 0
    for name, other in own.items():
        for key in [key for key in theirs if key.startswith(f'{other}_')]:
            mine = found[name + key[len(other):]]
            assert mine.shape == theirs[key].shape
            np.testing.assert_allclose(mine.numpy(), theirs[key].numpy(), rtol=1e-5, atol=1e-7)


def test_a_step_after_the_state_was_restored_has_the_same_bits():
    cfg = config(TRAIN__GRAD_CLIP=1.0)
    one, two = Training(cfg), Training(cfg)
    one.step(3)
    two.steps = 3
    two.model.set_state_dict(one.model.state_dict())
    names = {p.name: other.name for p, other in zip(one.parameters.values(), two.parameters.values())}
    two.optimizer.set_state_dict({two_name + key[len(name):]: value.clone() for name, two_name in names.items()
                                  for key, value in one.optimizer.state_dict().items() if key.startswith(f'{name}_')})
    a, b = one.step(2), two.step(2)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_weights_that_are_set_between_steps_are_the_ones_that_learn():
    training = Training(config(TRAIN__OPTIMIZER__NAME='SGD', TRAIN__WEIGHT_DECAY=0.0))
    training.step(1)
    bias = training.parameters['classifier.bias']
    for value in (np.full(3, 7, np.float32), paddle.full([3], 7.0)):
        bias.set_value(value)
        training.step(1)
        assert ((bias.numpy() != 7) & (abs(bias.numpy() - 7) < 1)).all()


def test_views_and_other_types_become_arrays_of_their_own_shapes():
    tensors = {'a': paddle.arange(6.0).reshape([2, 3]), 'n': paddle.arange(2), 'b': paddle.ones([1])}
    tensors['a'], tensors['b'] = coalesce([tensors['a'], tensors['b']])[1]
    arrays = to_arrays(tensors)
    assert {name: (array.dtype.name, array.tolist()) for name, array in arrays.items()} == {
        'a': ('float32', [[0, 1, 2], [3, 4, 5]]), 'n': ('int64', [0, 1]), 'b': ('float32', [1])}


def test_the_moving_average_has_the_bits_of_its_formula_and_can_be_set():
    model = ic.create_model(config())
    ema = ModelEma(model, 0.9, warmup=False)
    expected = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    rng = np.random.default_rng(0)
    for step in range(3):
        for name, tensor in model.state_dict().items():
            tensor.set_value(rng.standard_normal(tensor.shape, np.float32))
        ema.update(step)
        for name, tensor in model.state_dict().items():
            expected[name] += (tensor.numpy() - expected[name]) * np.float32(1 - 0.9)
        if step == 1:
            ema.set_state_dict({name: value * 2 for name, value in expected.items()})
            expected = {name: value * 2 for name, value in expected.items()}
    for name, value in ema.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), expected[name], err_msg=name)
