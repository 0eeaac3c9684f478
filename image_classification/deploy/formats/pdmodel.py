"""Writes the older .pdmodel format, which Paddle-Lite and OpenVINO read. A program of its own, because Paddle chooses between
its two kinds of programs once per process:
FLAGS_enable_pir_api=0 python -m image_classification.deploy.formats.pdmodel ARGUMENTS
"""
import json
import sys
from pathlib import Path

import paddle
import paddle.nn.functional as F
from paddle.static import Variable

from image_classification.config import config_from_text
from image_classification.cpu.paddle_internals import append_to_older_program
from image_classification.cpu.settings import tune_cpu
from image_classification.datasets import Preprocess
from image_classification.deploy.static import save_static
from image_classification.layers import FeatureExtractor, drop_head
from image_classification.models import build_model
from image_classification.weights import load_state, read_safetensors


def main(arguments):
    """Write a program. `arguments` is a JSON object with these keys:

        weights: a weights file that contains the configuration, too
        prefix, shape, softmax: as for `to_static`; prefix is the path without ending
        strides: strides of the feature maps to output, or null for the network's own outputs
        pixels: the preprocessing to include, or null
        phone: whether to use the forms for engines on phones
    """
    given = json.loads(arguments)
    paddle.set_device('cpu')
    state, metadata = read_safetensors(given['weights'])
    model = build_model(config_from_text(metadata['config'], given['weights']))
    features = given['strides'] is not None
    if features:
        drop_head(model)
    load_state(model, state, given['weights'])
    if features:
        model = FeatureExtractor(model, out_strides=given['strides'])
    pixels = Preprocess.from_dict(given['pixels']) if given['pixels'] else None
    mend_operators()
    save_static(given['prefix'], model, given['shape'], given['softmax'], pixels, phone=given['phone'])
    Path(f'{given["prefix"]}.pdiparams.info').unlink(missing_ok=True)  # Paddle's, which no engine reads


def mend_operators():
    """Let functions of Paddle 3.3 write older programs again.

    Functions that 3.3 moved to C++ (paddle.matmul, maximum, sigmoid, ..., F.gelu) raise "must be Value, but got Variable"
    there. The ones that networks use are replaced here. Others still raise, and then nothing is written.
    """
    unary = ('exp', 'log', 'sqrt', 'rsqrt', 'sigmoid', 'tanh', 'sin', 'cos', 'abs', 'floor', 'ceil')
    functions = {name: _unary(name) for name in unary}
    functions.update(maximum=_binary('elementwise_max'), minimum=_binary('elementwise_min'),
                     multiply=_binary('elementwise_mul'), bmm=_bmm, matmul=_matmul, sum=_sum,
                     einsum=_einsum_by(paddle.einsum), unbind=_unbind)
    for function in (*functions.values(), _gelu):
        function.__module__ = 'paddle.tensor'                      # otherwise the tracer treats it as user code and deadlocks
    for name, function in functions.items():
        setattr(paddle, name, function)
        setattr(paddle.tensor, name, function)
        setattr(Variable, name, function)
    F.pad = _pad_by(F.pad)
    F.gelu, F.sigmoid, F.tanh = _gelu, functions['sigmoid'], functions['tanh']


def _append(kind, inputs, **attributes):
    return append_to_older_program(kind, inputs, attributes)


def _unary(kind):
    return lambda x, name=None: _append(kind, {'X': x})


def _binary(kind):
    return lambda x, y, name=None: _append(kind, {'X': x, 'Y': y}, axis=-1)


def _bmm(x, y, name=None):
    return _append('bmm', {'X': x, 'Y': y})


def _matmul(x, y, transpose_x=False, transpose_y=False, name=None):
    return _append('matmul_v2', {'X': x, 'Y': y}, trans_x=transpose_x, trans_y=transpose_y)


def _gelu(x, approximate=False, name=None):
    return _append('gelu', {'X': x}, approximate=approximate in (True, 'tanh'))


def _einsum_by(einsum):
    """Compute an einsum of rows times rows, as in 'bhml,bhcl->bhmc', by a matrix product, because Paddle-Lite has no einsum.
    Other equations stay."""
    def product(equation, *operands):
        terms, result = equation.replace(' ', '').split('->')
        left, *right = terms.split(',')
        if len(right) == 1 and left[-1] == right[0][-1] and left[:-2] == right[0][:-2] and result == left[:-1] + right[0][-2]:
            n = len(left)
            return _matmul(operands[0], operands[1].transpose([*range(n - 2), n - 1, n - 2]))
        return einsum(equation, *operands)
    return product


def _unbind(x, axis=0):
    return [paddle.squeeze(part, axis) for part in paddle.split(x, x.shape[axis], axis)]


def _pad_by(pad_by_numbers):
    """`F.pad`, extended to widths that depend on the size of the images."""
    def pad(x, pad, *args, **kwargs):
        if any(isinstance(width, Variable) for width in pad):
            widths = [width if isinstance(width, Variable) else paddle.full([1], width, 'int32') for width in pad]
            pad = paddle.concat([width.reshape([1]).astype('int32') for width in widths])
        return pad_by_numbers(x, pad, *args, **kwargs)
    pad.__module__ = 'paddle.tensor'
    return pad


def _sum(x, axis=None, dtype=None, keepdim=False, name=None):
    axes = [axis] if isinstance(axis, int) else list(axis or range(len(x.shape)))
    return _append('reduce_sum', {'X': x}, dim=axes, keep_dim=keepdim, reduce_all=len(axes) == len(x.shape))


if __name__ == '__main__':
    tune_cpu()
    main(sys.argv[1])
