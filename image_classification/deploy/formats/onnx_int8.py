"""Static quantisation of an ONNX file to 8 bits, with ONNX Runtime.

Weights become int8 with a scale per output channel. The inputs of layers become uint8, with scales calibrated on pictures. The
operators between the layers (attention, softmax, normalization, hard swish) stay float32, because an 8-bit softmax ruins a
network. So do the first layers, whose maps have at least half of the picture's sides: they have hardly any weights, and their
rounding would affect all other layers.

x86 processors without VNNI add two products of uint8 and int8 in 16 bits, which can overflow: a quarter of EfficientNet-Lite0's
answers changed. On these, dense layers have the same weights as uint8 with zero point 128. ONNX Runtime adds those exactly, but
a third slower.
"""
import contextlib
import fnmatch
import logging
import os
import platform

import numpy as np

from image_classification.cpu.settings import cpu_features
from image_classification.errors import UserError

LAYERS = ('Conv', 'Gemm', 'MatMul')
OPERATORS = (*LAYERS, 'Relu', 'Clip')                              # the last two are fused with the layer before them
METHODS = {'minmax': 'MinMax', 'percentile': 'Percentile', 'entropy': 'Entropy'}


def quantize_onnx(source, target, inputs, operators, exclude, method):
    """Write the quantised form of an ONNX file. Returns (names of the quantised nodes, names of the first layers, which stay
    float).

    Args:
        inputs: a list of input batches for calibration.
    Raises:
        UserError: no node with these operators remains after the exclusions, or an exclusion matches none.
    """
    import onnx
    from onnxruntime import quantization
    model = onnx.load(str(source))
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f'{node.op_type}_{i}'
    _matrices_to_convolutions(model)
    products = _products(model.graph)
    names = [node.name for node in model.graph.node if node.op_type in operators and node.name not in products]
    for pattern in exclude:
        if not fnmatch.filter(names, pattern):
            raise UserError(f'no {", ".join(operators)} is called {pattern!r}; wanted one of {", ".join(names[:5])}, ...')
    first = _first_layers(model.graph, names)
    excluded = [name for name in names if name in first or any(fnmatch.fnmatchcase(name, pattern) for pattern in exclude)]
    kept = [name for name in names if name not in excluded]
    if not kept:
        raise UserError(f'the network has no {", ".join(operators)} with weights to quantise' + ' that is not excluded' * bool(excluded))
    arguments = {'op_types_to_quantize': list(operators), 'nodes_to_exclude': [*excluded, *products], 'per_channel': True,
                 'activation_type': quantization.QuantType.QUInt8, 'weight_type': quantization.QuantType.QInt8,
                 'calibrate_method': quantization.CalibrationMethod[METHODS[method]]}
    if sums_overflow():
        arguments['extra_options'] = {'TensorQuantOverrides': _unsigned(model.graph, kept)}
    reader = _Reader(model.graph.input[0].name, inputs)
    try:
        with _quiet(), open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere):
            quantization.quantize_static(model, str(target), reader, **arguments)
    except Exception as error:                                     # from calibration, or from a graph that cannot be quantised
        raise UserError(f'ONNX Runtime cannot quantise {source}: {" ".join(str(error).split())[:300]}') from error
    return kept, first


def sums_overflow():
    """Whether ONNX Runtime's products of uint8 and int8 may overflow on this processor."""
    return platform.machine().lower() in ('x86_64', 'amd64') and not {'avx512_vnni', 'avx_vnni'} & cpu_features()


def _unsigned(graph, names):
    """{weight name: overrides per output channel} that store the int8 weights of dense layers among `names` as uint8.

    Depthwise convolutions are left out, because their sums are short; with them, EfficientNet-Lite0 takes 67 ms instead of 12.
    """
    from onnx import numpy_helper
    from onnxruntime.quantization import QuantType
    weights, found = {item.name: item for item in graph.initializer}, {}
    for node in graph.node:
        values = {attribute.name: attribute.i for attribute in node.attribute}
        depthwise = node.op_type == 'Conv' and values.get('group', 1) > 1
        if node.name not in names or node.op_type not in LAYERS or node.input[1] not in weights or depthwise:
            continue
        axis = 0 if node.op_type == 'Conv' or values.get('transB') else 1
        array = np.moveaxis(numpy_helper.to_array(weights[node.input[1]]), axis, 0)
        largest = np.abs(array.reshape(len(array), -1)).max(1).astype(np.float32)
        scales = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)
        found[node.input[1]] = [{'quant_type': QuantType.QUInt8, 'axis': axis, 'scale': scale, 'zero_point': np.uint8(128)}
                                for scale in scales]
    return found


def _matrices_to_convolutions(model):
    """Turn W @ x, with a weight matrix (N, K) and x (B, K, L), into the equivalent convolution of width 1. ONNX Runtime has no
    scales per output channel for weights on the left."""
    import onnx
    graph = onnx.shape_inference.infer_shapes(model).graph
    ranks = {item.name: len(item.type.tensor_type.shape.dim) for item in graph.value_info if item.type.tensor_type.HasField('shape')}
    weights = {item.name: item for item in model.graph.initializer if len(item.dims) == 2}
    for node in model.graph.node:
        if node.op_type != 'MatMul' or node.input[0] not in weights or ranks.get(node.input[1]) != 3:
            continue
        kernel = onnx.TensorProto()
        kernel.CopyFrom(weights[node.input[0]])
        kernel.name = f'{node.name}/weight'
        kernel.dims.append(1)
        model.graph.initializer.append(kernel)
        node.op_type, node.input[:] = 'Conv', [node.input[1], kernel.name]
        node.attribute.append(onnx.helper.make_attribute('kernel_shape', [1]))
    used = {name for node in model.graph.node for name in node.input}
    for name in set(weights) - used:
        model.graph.initializer.remove(weights[name])


def _products(graph):
    """Names of the MatMuls without a weight matrix. If those of attention were quantised, ONNX Runtime would also compute the
    softmax between them in 8 bits, which spoilt a third of MobileFormer's answers."""
    matrices = {item.name for item in graph.initializer if len(item.dims) == 2}
    return [node.name for node in graph.node if node.op_type == 'MatMul' and node.input[1] not in matrices]


def _first_layers(graph, names):
    """Those of the nodes `names` whose maps have at least half of the picture's sides; [] if no node has smaller maps.

    EfficientNet-Lite0 with a regression on 500 pictures of CIFAR-10 got 67.95 % of 4,000 others right, and 67.05 % in 8 bits.
    It got 67.38 % with its first convolution in float, and 67.83 %, in less time, with all four layers of at least half the
    sides.
    """
    strides, first, smaller = {}, [], False
    for node in graph.node:                                        # in the order of computation
        own = next((max(attribute.ints) for attribute in node.attribute if attribute.name == 'strides'), 1)
        stride = own * max((strides.get(name, 1) for name in node.input), default=1)
        strides.update(dict.fromkeys(node.output, stride))
        if node.name in names and node.op_type not in ('Gemm', 'MatMul'):   # these have tokens or vectors, not maps
            first += [node.name] if stride <= 2 else []
            smaller |= stride > 2
    return first if smaller else []


class _Reader:
    """Gives batches in the form that ONNX Runtime's calibration wants."""

    def __init__(self, name, inputs):
        self._feeds = iter([{name: batch} for batch in inputs])

    def get_next(self):
        return next(self._feeds, None)


@contextlib.contextmanager
def _quiet():
    """Suppress ONNX Runtime's advice to pre-process the graph, which the export has already done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
