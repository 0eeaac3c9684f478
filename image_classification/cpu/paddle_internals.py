"""All private functions of Paddle that the library calls, each with a fallback for versions of Paddle that lack it."""
import contextlib
import inspect
import sys

import paddle

from image_classification.errors import UserError


@contextlib.contextmanager
def translated_once():
    """Speed up tracing within the block: each method is translated into static code once, not once for each layer.

    Paddle caches translations by bound method, which is gone after the call. It also searches its own functions for every
    function that it calls. In a Paddle without these internals, tracing takes its usual time.
    """
    try:
        from paddle.jit.dy2static import convert_call_func
        from paddle.jit.dy2static.program_translator import FunctionCache
        convert, is_left_alone = FunctionCache.convert_with_cache, convert_call_func.is_unsupported
    except (ImportError, AttributeError):
        yield
        return
    known = {}

    def is_known_to_be_left_alone(function):
        written = _as_written(function.forward if isinstance(function, paddle.nn.Layer) else function)
        if written not in known:
            known[written] = is_left_alone(function)
        return known[written]
    FunctionCache.convert_with_cache = lambda self, function: convert(self, _as_written(function))
    convert_call_func.is_unsupported = is_known_to_be_left_alone
    try:
        yield
    finally:
        FunctionCache.convert_with_cache, convert_call_func.is_unsupported = convert, is_left_alone


def _as_written(function):
    """The plain function behind a bound method; other functions as they are."""
    return getattr(function, '__func__', function)


def traces_older_program():
    """Whether a program of the older format is being traced. A Paddle without `in_pir_mode` has only one format."""
    in_newer = getattr(paddle.framework, 'in_pir_mode', None)
    return bool(in_newer) and not paddle.in_dynamic_mode() and not in_newer()


def set_threads(number):
    """Set the number of CPU threads of this process. A Paddle that cannot change it keeps the value that OMP_NUM_THREADS had at
    import, 1 by default."""
    change = getattr(getattr(paddle.base, 'core', None), 'set_num_threads', None)
    if change:
        change(number)


def load_operators(library):
    """Load a library that was compiled for this Paddle. Returns the names of its operators, none if Paddle cannot run them.

    Raises:
        OSError, RuntimeError, ValueError: the file is not a library.
    """
    from paddle.utils.cpp_extension import extension_utils
    load = getattr(extension_utils, 'load_op_meta_info_and_register_op', None)
    return set(load(str(library))) if load and hasattr(paddle._C_ops, '_run_custom_op') else set()


def run_operator(name, *arguments):
    """Run an operator from `load_operators`. Returns its outputs."""
    return paddle._C_ops._run_custom_op(name, *arguments)


@paddle.no_grad()
def coalesce(tensors):
    """Copy tensors into one: (1-D tensor with all values, views of it in the tensors' shapes).

    This is a single call. Without that function it takes a call per tensor, which costs a CPU more than copying the numbers.
    """
    together = getattr(paddle._C_ops, 'coalesce_tensor', None)
    if together:
        views, flat = together(tensors, tensors[0].dtype, True, False, False, 0.0, False, -1, -1, [], [])
        return flat, views
    flat, views, start = paddle.concat([tensor.flatten() for tensor in tensors]), [], 0
    for tensor in tensors:
        strides = [1]
        for length in reversed(tensor.shape[1:]):
            strides.insert(0, strides[0] * length)
        views.append(paddle.as_strided(flat, tensor.shape, strides[:tensor.ndim], start * flat.element_size()))
        start += tensor.size
    return flat, views


def can_share_memory():
    """Whether Paddle has everything that `FlatOptimizer` needs, `share_memory` included."""
    return hasattr(paddle.Tensor, '_share_buffer_to') and hasattr(paddle.optimizer.Optimizer, '_create_accumulators')


def share_memory(tensor, with_tensor):
    """Make `with_tensor` use the memory of `tensor`."""
    tensor._share_buffer_to(with_tensor)


def create_state(optimizer, parameters):
    """Create the optimizer's accumulators for these parameters now, instead of in its first step."""
    optimizer._create_accumulators(paddle.static.default_main_program().global_block(), parameters)


def gradient_of(parameter):
    """The gradient of a parameter, or None."""
    grad = getattr(parameter, '_grad_ivar', None)
    return grad() if grad else parameter.grad


def all_finite(tensors):
    """Whether all numbers in these tensors are finite: one call for all of them or, without that function, one per tensor."""
    check = getattr(paddle._C_ops, 'check_finite_and_unscale_', None)
    if check:
        return not check(tensors, paddle.ones([1]))[1].item()      # a scale of 1 leaves every bit as it is
    return all(tensor.isfinite().all().item() for tensor in tensors)


def operators_of_older_program(content):
    """Sorted types of the operators in a .pdmodel file, given as bytes."""
    try:
        from paddle.base.core import ProgramDesc
    except ImportError as error:
        raise _no_older_format() from error
    program = ProgramDesc(content)
    blocks = [program.block(i) for i in range(program.num_blocks())]
    return sorted({block.op(i).type() for block in blocks for i in range(block.op_size())})


def mended_for_paddle_lite(content):
    """Mend the bytes of a .pdmodel file for Paddle-Lite 2.12: add the attributes that Paddle wrote up to 2.6, which are the
    threshold of relu6, and the values of constants in a list of their type; call silu by its name there, swish."""
    try:
        from paddle.base.proto import framework_pb2 as schema
    except ImportError as error:
        raise _no_older_format() from error
    program = schema.ProgramDesc.FromString(content)
    lists = {5: ('fp32_values', schema.FLOATS, 'floats'), 2: ('int32_values', schema.INTS, 'ints'),
             3: ('int64_values', schema.LONGS, 'longs'), 0: ('bool_values', schema.BOOLEANS, 'bools')}     # by VarType.Type
    for operator in (operator for block in program.blocks for operator in block.ops):
        given = {attribute.name: attribute for attribute in operator.attrs}
        if operator.type == 'relu6' and 'threshold' not in given:
            operator.attrs.add(name='threshold', type=schema.FLOAT, f=6.0)
        if operator.type == 'silu':
            operator.type = 'swish'
            operator.attrs.add(name='beta', type=schema.FLOAT, f=1.0)
        if operator.type == 'assign_value' and 'values' in given and given['dtype'].i in lists:
            name, kind, field = lists[given['dtype'].i]
            if name not in given:
                numbers = [_number_of(scalar, schema) for scalar in given['values'].scalars]
                operator.attrs.add(name=name, type=kind, **{field: numbers})
    return program.SerializeToString()


def _number_of(scalar, schema):
    return {schema.Scalar.BOOLEAN: scalar.b, schema.Scalar.LONG: scalar.i}.get(scalar.type, scalar.r)


def append_to_older_program(kind, inputs, attributes):
    """Add an operator to the program of the older format that is being traced. Returns its output."""
    try:
        from paddle.base.layer_helper import LayerHelper
    except ImportError as error:
        raise _no_older_format() from error
    helper = LayerHelper(kind)
    output = helper.create_variable_for_type_inference(next(iter(inputs.values())).dtype)
    helper.append_op(type=kind, inputs=inputs, outputs={'Out': output}, attrs=attributes)
    return output


def _no_older_format():
    return UserError(f'Paddle {paddle.__version__} has no programs of the older format .pdmodel, which Paddle-Lite reads; wanted '
                     'Paddle 3.3, or another format')


@paddle.jit.not_to_static
def paddle_model_wants_one_output(count):
    """Whether a network is called by `paddle.Model`, with a loss that takes one output and the labels, not `count` outputs.

    Nothing tells a network who calls it, so this inspects the stack, skipping frames of Paddle's layers and of this library.
    """
    frame, passed = sys._getframe(1), ('paddle.nn.', 'paddle.distributed.', __name__.split('.')[0])
    while frame and frame.f_globals.get('__name__', '').startswith(passed):
        frame = frame.f_back
    if frame is None or frame.f_globals.get('__name__') != 'paddle.hapi.model':
        return False
    loss = getattr(getattr(frame.f_locals.get('self'), 'model', None), '_loss', None)
    if loss is None or getattr(loss, '__module__', '').startswith('paddle.'):
        return True
    labels = frame.f_locals.get('labels')
    try:
        inspect.signature(getattr(loss, 'forward', loss)).bind(*[None] * (count + (len(labels) if labels else 1)))
    except TypeError:
        return True
    return False
