"""Linear layers whose bias costs little on a CPU."""
from types import MethodType

import paddle
from paddle import nn

from image_classification.cpu import operators


_FEW_NUMBERS = 1 << 14                                             # below, calling the operator costs more than it saves


def Linear(*args, **kwargs):
    """An `nn.Linear` with these arguments, type, names and hooks: (..., C) -> (..., C').

    Paddle sums the gradient of a bias in twice the time of all other work for 8 x 3136 tokens (64 -> 256 channels: 40 ms with a
    bias, 19 ms without). With the compiled operators it takes 2 ms.
    """
    layer = nn.Linear(*args, **kwargs)
    layer.forward = MethodType(_forward, layer)
    return layer


def _forward(self, x):                                             # a name that `paddle.jit.to_static` looks for
    if self.bias is None or x.size < _FEW_NUMBERS or not operators.serves(x):
        return nn.Linear.forward(self, x)
    y = paddle.matmul(x, self.weight)
    return operators.add_bias(y, self.bias) if operators.serves(y) else y + self.bias
