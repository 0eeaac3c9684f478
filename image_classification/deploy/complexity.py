"""The cost of a network: parameters and multiply-accumulates."""
from math import prod

import paddle

from image_classification.cpu.paddle_internals import translated_once
from image_classification.deploy.static import Deployed, on_cpu
from image_classification.fuse import as_published


def count_parameters(model):
    """Number of trainable parameters; batch norm statistics do not count."""
    return sum(parameter.size for parameter in model.parameters() if not parameter.stop_gradient)


def count_macs(model, image_size):
    """Multiply-accumulates of the convolutions, linear layers and matrix products for one image, in evaluation.

    Counted on the traced program, so that functional code counts like layers. Biases, norms, activations, pooling and
    element-wise products are left out, as in papers.
    Args:
        image_size: side of the square input, in pixels.
    Raises:
        RuntimeError: the network has a convolution or attention operator that this function has no formula for.
    """
    config = getattr(model, 'config', None)
    channels = config.MODEL.IN_CHANNELS if config else 3
    spec = paddle.static.InputSpec([1, channels, image_size, image_size], 'float32', 'image')
    with on_cpu(), translated_once():
        traced = paddle.jit.to_static(_Counted(model, make_copy=as_published), input_spec=[spec], full_graph=True)
        program = traced.forward.concrete_program.main_program
    return _macs_of_block(program.global_block())


class _Counted(Deployed):
    """Traced as it runs, without translating its Python code, which would take most of the time. With a batch of one and a
    known size no translation is needed."""

    @paddle.jit.not_to_static
    def forward(self, image):
        return self.network(image)


def _macs_of_block(block):
    total = 0
    for op in block.ops:
        kind = op.name().removeprefix('pd_op.')
        if kind in _FORMULAS:
            total += _FORMULAS[kind](op)
        elif any(word in kind for word in ('conv', 'attn', 'attention')):
            raise RuntimeError(f'no formula for the operator {kind}: add one to {__name__}')
        total += sum(_macs_of_block(inner) for inner in op.blocks())  # counts both branches of an `if`, and a loop's body once
    return total


def _shape(value):
    if any(size < 0 for size in value.shape):
        raise RuntimeError(f'the traced program does not know the size of {value.shape}')
    return value.shape


def _convolution(op):
    weight = _shape(op.operand_source(1))                          # (C_out, C_in / groups, *kernel)
    return prod(_shape(op.result(0))) * prod(weight[1:])


def _transposed_convolution(op):
    weight = _shape(op.operand_source(1))                          # (C_in, C_out / groups, *kernel)
    return prod(_shape(op.operand_source(0))) * prod(weight[1:])


def _matmul(op):
    left = _shape(op.operand_source(0))                            # (..., M, K), (..., K, M) or (K,)
    depth = left[-2] if op.attrs().get('transpose_x') and len(left) > 1 else left[-1]
    return prod(_shape(op.result(0))) * depth


def _addmm(op):
    return prod(_shape(op.result(0))) * _shape(op.operand_source(1))[-1]  # operands: addend, left, right


def _einsum(op):
    terms = op.attrs()['equation'].replace(' ', '').split('->')[0].split(',')
    operands = op.operand_source(0).get_defining_op().operands_source()   # combined into one list
    sizes = {label: size for term, operand in zip(terms, operands) for label, size in zip(term, _shape(operand))}
    return prod(sizes.values()) if len(terms) > 1 else 0


_FORMULAS = {
    'conv2d': _convolution, 'depthwise_conv2d': _convolution, 'conv3d': _convolution,
    'conv2d_transpose': _transposed_convolution, 'depthwise_conv2d_transpose': _transposed_convolution,
    'conv3d_transpose': _transposed_convolution,
    'matmul': _matmul, 'bmm': _matmul, 'mv': _matmul, 'dot': _matmul, 'linear': _matmul, 'linear_v2': _matmul,
    'addmm': _addmm, 'baddbmm': _addmm, 'einsum': _einsum,
}
