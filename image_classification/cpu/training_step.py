"""AdamW, moving averages and copies, each in one pass over long arrays by the compiled operators."""
import ctypes
import math

import numpy as np
import paddle
from paddle.nn import ClipGradByGlobalNorm

from image_classification.cpu import operators
from image_classification.cpu.paddle_internals import coalesce


class LongAdamW(paddle.optimizer.AdamW):
    """Paddle's AdamW for contiguous float32 parameters on a CPU, with the same results up to rounding. It needs the operators.
    Clipping by the norm of all gradients is part of the update."""

    def __init__(self, *args, grad_clip=None, **kwargs):
        by_norm = isinstance(grad_clip, ClipGradByGlobalNorm)
        super().__init__(*args, grad_clip=_FactorOnly(grad_clip.clip_norm) if by_norm else grad_clip, **kwargs)

    def _append_optimize_op(self, block, param_and_grad):          # Paddle's name
        parameter, gradient = param_and_grad
        moment1, moment2, power1, power2 = (self._get_accumulator_master(name, parameter) for name in (
            self._moment1_acc_str, self._moment2_acc_str, self._beta1_pow_acc_str, self._beta2_pow_acc_str))
        rate = self.get_lr() * parameter.optimize_attr['learning_rate']
        decay = self._weight_decay if self._apply_decay_param_fun(parameter.name) else 0.0
        first, second = 1.0 - power1.item(), 1.0 - power2.item()
        factor = self._grad_clip.factor if isinstance(self._grad_clip, _FactorOnly) else 1.0
        numbers = (ctypes.c_float * 6)(factor, self._beta1, self._beta2, self._epsilon * math.sqrt(second), 1.0 - rate * decay,
                                       rate * math.sqrt(second) / first)
        arrays = map(_address, (parameter, gradient, moment1, moment2))
        operators.plain_functions().mobile_backbones_adamw(numbers, *arrays, ctypes.c_int64(parameter.size))
        power1.scale_(self._beta1)
        power2.scale_(self._beta2)


class _FactorOnly(ClipGradByGlobalNorm):
    """Computes the factor that limits the norm, and leaves the gradients as they are."""

    factor = 1.0

    @paddle.no_grad()
    def _dygraph_clip(self, params_grads):
        squares = operators.plain_functions().mobile_backbones_sum_of_squares
        squares.restype = ctypes.c_double
        norm = math.sqrt(sum(squares(_address(grad), ctypes.c_int64(grad.size)) for _, grad in params_grads if grad is not None))
        self.factor = self.clip_norm / max(norm, self.clip_norm)
        return params_grads


class Joiner:
    """Joins the same tensors anew in each step, in memory that it keeps: fresh memory costs more than the copy."""

    def __init__(self):
        self.array = self.sizes = None

    def __call__(self, tensors):
        """One array with all values. The next call changes it, if the operators are there."""
        if not operators.serves(tensors[0]) or not all(tensor.is_contiguous() for tensor in tensors):
            return coalesce(tensors)[0]
        if self.array is None:
            self.sizes = np.array([tensor.size for tensor in tensors], np.int64)
            self.array = paddle.empty([int(self.sizes.sum())], tensors[0].dtype)
        pointers = _addresses(tensors)
        operators.plain_functions().mobile_backbones_join(
            ctypes.c_void_p(pointers.ctypes.data), ctypes.c_void_p(self.sizes.ctypes.data), ctypes.c_int64(len(pointers)),
            _address(self.array))
        return self.array


def blend(tensors, sizes, share, average):
    """average += share * (tensors - average), where `average` is one array for all tensors, one after another. `sizes`: their
    numbers of elements, an array of int64."""
    pointers = _addresses(tensors)
    operators.plain_functions().mobile_backbones_blend(
        ctypes.c_void_p(pointers.ctypes.data), ctypes.c_void_p(sizes.ctypes.data), ctypes.c_int64(len(pointers)),
        ctypes.c_float(share), _address(average))


def _address(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


def _addresses(tensors):
    return np.array([tensor.data_ptr() for tensor in tensors], np.uint64)
