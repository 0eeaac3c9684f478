"""Converts a traced program to ONNX and OpenVINO files. A program of its own, because the converter can abort the interpreter:
python -m image_classification.deploy.formats.onnx_format ARGUMENTS

Nothing is ever installed or downloaded. By itself, paddle2onnx folds constants with polygraphy, which installs missing packages
with pip; here ONNX Runtime folds them.
"""
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from image_classification.cpu.settings import tune_cpu
from image_classification.deploy.engines.onnxruntime import open_session, session_options
from image_classification.deploy.engines.openvino import import_openvino
from image_classification.deploy.formats import sizes
from image_classification.errors import UserError, missing_package
from image_classification.files import temporary_directory

OPSET = 17                                                         # the first opset with layer norm as one operator
NEEDS = {'onnx': ('paddle2onnx', 'onnx', 'onnxruntime'), 'openvino': ('paddle2onnx', 'onnx', 'onnxruntime', 'openvino')}


def missing(format):
    """The packages that `format` needs and that are not installed."""
    return [package for package in NEEDS.get(format, ()) if not find_spec(package)]


def check_installed(format):
    """Raise UserError if a package that `format` needs is missing."""
    packages = missing(format)
    if packages:
        problem = f'--format {format} needs {", ".join(packages)}, which'
        if sys.version_info >= (3, 13) and 'paddle2onnx' in packages:
            raise UserError(f'{problem} is not installed. There is no paddle2onnx for Python 3.13: export with Python 3.10 to '
                            '3.12.')
        raise missing_package(problem, format)


def main(arguments):
    """Convert a program. `arguments` is a JSON object with these keys:

        program: path of .json and .pdiparams without the ending
        onnx, openvino: files to write, or null
        outputs: names of the outputs
        dims: names of the input's dimensions, null for fixed ones
        plain: whether to use `plain_operators`
        metadata: {key: text}
        opset: version of the ONNX operators
        report: file for the report
    """
    given = json.loads(arguments)
    model, before = convert(given['program'], given['opset'])
    model = scalar_ranges(mend_pads(model, given['program']))
    if given['plain']:
        model = plain_operators(copied_dimensions(fold(model)))
    else:
        model = copied_dimensions(fold(spread_softmax(model)))
    label(model, given['outputs'], given['dims'], given['metadata'])
    if not given['plain']:
        sizes.write(model)
    check(model)
    if given['onnx']:
        _save(model, given['onnx'])
    report = {'opset': given['opset'], 'nodes': {'converted': before, 'folded': len(model.graph.node)}}
    if given['openvino']:                                          # last, because it changes the model
        with temporary_directory() as scratch:
            _save(spread_norms(model), Path(scratch) / 'model.onnx')
            _write_openvino(Path(scratch) / 'model.onnx', given['openvino'], given['metadata'])
    Path(given['report']).write_text(json.dumps(report))


def convert(program, opset):
    """Convert a Paddle program with paddle2onnx. Returns (ONNX model, its number of nodes)."""
    import onnx
    import paddle2onnx
    # 'None' is no optimizer: see the top of this module.
    written = paddle2onnx.export(f'{program}.json', f'{program}.pdiparams', opset_version=opset, optimize_tool='None')
    model = onnx.load_from_string(written)
    [found] = [entry.version for entry in model.opset_import if entry.domain == '']
    if found != opset:
        raise SystemExit(f'ValueError: paddle2onnx needs opset {found} for this network; wanted {opset}')
    return model, len(model.graph.node)


def mend_pads(model, program):
    """Give each Pad the value that it has in the Paddle program. paddle2onnx 2.1 reads it as a number of another size, and so
    writes whatever was in memory; that only matters if something is padded."""
    import onnx
    found = re.findall(r'"D":\s*([^{}]*)\},\s*"N":\s*"pad_value"', Path(f'{program}.json').read_text())
    values = [float(value) for value in found]
    pads = [node for node in model.graph.node if node.op_type == 'Pad' and len(node.input) > 2]
    if len(set(values)) == 1:
        values = values[:1] * len(pads)
    for number, (node, value) in enumerate(zip(pads, values if len(values) == len(pads) else [])):
        node.input[2] = f'pad_value_{number}'
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), node.input[2]))
    return model


def scalar_ranges(model):
    """Give each Range scalars as inputs, as ONNX wants them. The converter gives it lists of one number, which ONNX Runtime
    refuses if the shapes are fixed."""
    import onnx
    from onnx.helper import make_node
    nodes = []
    for number, node in enumerate(model.graph.node):
        if node.op_type == 'Range':
            scalars = [f'range_{number}_{name}' for name in ('start', 'limit', 'delta')]
            nodes += [make_node('Reshape', [given, 'no_dimensions'], [scalar]) for given, scalar in zip(node.input, scalars)]
            node.input[:] = scalars
        nodes.append(node)
    if len(nodes) > len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(0, np.int64), 'no_dimensions'))
    return model


def spread_softmax(model):
    """Replace each softmax over a dimension other than the last by its five steps. ONNX Runtime transposes for such a softmax
    and computes one short row at a time (3 tokens for each of 3,136 pixels take 1.07 ms, in steps 0.15 ms)."""
    import onnx
    graph = onnx.shape_inference.infer_shapes(model).graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.value_info, *graph.input, *graph.output)}
    nodes = []
    for number, node in enumerate(model.graph.node):
        rank = ranks.get(node.input[0], 0) if node.op_type == 'Softmax' else 0   # 0: another operator, or unknown rank
        axis = next((entry.i for entry in node.attribute if entry.name == 'axis'), -1)
        if rank and axis % rank < rank - 1:
            nodes += _softmax_steps(node, axis % rank, f'spread_{number}_')
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _softmax_steps(node, axis, prefix):
    import onnx
    from onnx.helper import make_node
    largest, less, power, total, dims = (prefix + name for name in ('max', 'sub', 'exp', 'sum', 'axes'))
    return [make_node('Constant', [], [dims], value=onnx.numpy_helper.from_array(np.array([axis], np.int64))),
            make_node('ReduceMax', [node.input[0]], [largest], axes=[axis]),
            make_node('Sub', [node.input[0], largest], [less]),
            make_node('Exp', [less], [power]),
            make_node('ReduceSum', [power, dims], [total]),
            make_node('Div', [power, total], list(node.output))]


def spread_norms(model):
    """Replace each batch norm with computed factors by a product and a sum. Such norms come from dynamic ReLU, and have mean 0
    and deviation 1. OpenVINO splits the norm into more steps (MobileFormer-26M at batch 8: 24.3 ms; with this 21.1 ms)."""
    import onnx
    from onnx.helper import make_node
    weights, nodes, axes = {value.name for value in model.graph.initializer}, [], 'spread_norm_axes'
    for number, node in enumerate(model.graph.node):
        if node.op_type != 'BatchNormalization' or node.input[1] in weights:
            nodes.append(node)
            continue
        factor, offset, product = (f'spread_norm_{number}_{name}' for name in ('factor', 'offset', 'product'))
        nodes += [make_node('Unsqueeze', [node.input[1], axes], [factor]),
                  make_node('Unsqueeze', [node.input[2], axes], [offset]),
                  make_node('Mul', [node.input[0], factor], [product]), make_node('Add', [product, offset], [node.output[0]])]
    if len(nodes) > len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 2], np.int64), axes))
    return model


def plain_operators(model):
    """Replace operators that OpenCV's DNN module cannot run or computes wrongly.

    OpenCV 4.10 refuses norms with computed factors and several new dimensions at once. It silently computes wrong averages that
    count a border and, in 5.0, borders whose width follows from the size.
    """
    import onnx
    from onnx.helper import make_node
    model = spread_norms(model)
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: [entry.dim_value for entry in value.type.tensor_type.shape.dim]
              for value in (*graph.input, *graph.value_info, *graph.output)}
    constants = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    nodes, weights = [], {}
    for number, node in enumerate(model.graph.node):
        values = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        if node.op_type in ('Unsqueeze', 'Squeeze') and all(shapes.get(node.output[0], [0])):
            weights[f'plain_{number}_shape'] = np.array(shapes[node.output[0]], np.int64)
            node = make_node('Reshape', [node.input[0], f'plain_{number}_shape'], list(node.output))
        elif node.op_type == 'AveragePool' and values.get('count_include_pad') and any(values.get('pads', ())):
            begin, end = np.split(np.array(values.pop('pads'), np.int64), 2)
            weights[f'plain_{number}_pads'] = np.concatenate([[0, 0], begin, [0, 0], end])
            weights['plain_zero'] = np.array(0, np.float32)        # pnnx needs a Pad's value and mode
            nodes.append(make_node('Pad', [node.input[0], f'plain_{number}_pads', 'plain_zero'], [f'plain_{number}_padded'],
                                   mode='constant'))
            kept = {key: value for key, value in values.items() if key in ('kernel_shape', 'strides', 'ceil_mode')}
            node = make_node('AveragePool', [f'plain_{number}_padded'], list(node.output), **kept)
        elif node.op_type == 'Conv' and values.get('auto_pad', b'').startswith(b'SAME') and _are_known(shapes, node):
            kept = {key: value for key, value in values.items() if key != 'auto_pad'}
            kept['pads'] = _borders(shapes[node.input[0]][2:], shapes[node.output[0]][2:], values)
            node = make_node('Conv', list(node.input), list(node.output), **kept)
        elif node.op_type == 'Resize' and values.get('mode') == b'linear':
            # The mode means nothing here, but pnnx takes no other.
            node = make_node('Resize', list(node.input), list(node.output), **{**values, 'nearest_mode': 'floor'})
        elif node.op_type == 'ReduceSum' and _sums_rows_or_columns(node, shapes, constants):
            shape, ones, summed = shapes[node.input[0]], f'plain_{number}_ones', f'plain_{number}_summed'
            rank, given = len(shape), node.input[0]
            axis = int(constants[node.input[1]].reshape(())) % rank
            if axis == rank - 2:                                   # ncnn mistakes a matrix with one row for a vector
                given = f'plain_{number}_turned'
                nodes.append(make_node('Transpose', [node.input[0]], [given], perm=[*range(rank - 2), rank - 1, rank - 2]))
            if shape[axis] > 1:                                    # pnnx mistakes a single one for a number
                weights[ones] = np.ones([shape[axis], 1], np.float32)
                nodes.append(make_node('MatMul', [given, ones], [summed]))
                given = summed
            weights[f'plain_{number}_shape'] = np.array(shapes[node.output[0]], np.int64)
            node = make_node('Reshape', [given, f'plain_{number}_shape'], list(node.output))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    return without_unused(model)


def _sums_rows_or_columns(node, shapes, constants):
    """Whether a ReduceSum sums over one of the last two dimensions, and all sizes are known. pnnx would sum over everything."""
    shape, axes = shapes.get(node.input[0]), constants.get(node.input[1]) if len(node.input) > 1 else None
    known = shape and all(shape) and all(shapes.get(node.output[0], [0]))
    return bool(known and len(shape) > 1 and axes is not None and axes.size == 1 and int(axes.reshape(())) % len(shape) >= len(shape) - 2)


def _are_known(shapes, node):
    return all(shapes.get(name) and all(shapes[name][2:]) for name in (node.input[0], node.output[0]))


def _borders(sides, made, values):
    """ONNX's `pads` for SAME_UPPER or SAME_LOWER, from the sides of the input (`sides`) and of the output (`made`)."""
    ones = [1] * len(sides)
    rows = zip(sides, made, values['kernel_shape'], values.get('strides', ones), values.get('dilations', ones))
    total = [max((after - 1) * stride + (kernel - 1) * dilation + 1 - before, 0)
             for before, after, kernel, stride, dilation in rows]
    less, more = [pixels // 2 for pixels in total], [pixels - pixels // 2 for pixels in total]
    return [*less, *more] if values['auto_pad'] == b'SAME_UPPER' else [*more, *less]


def fold(model):
    """Compute constants, fold batch norms and remove unneeded nodes, with ONNX Runtime's basic level. Its result is standard
    ONNX on any machine; the higher levels write ONNX Runtime's own operators for this processor."""
    import onnx
    import onnxruntime
    with temporary_directory() as scratch:
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(scratch) / 'folded.onnx')
        open_session(model.SerializeToString(), options)
        folded = onnx.load(options.optimized_model_filepath)
    for entry in [entry for entry in folded.opset_import if entry.domain]:
        folded.opset_import.remove(entry)                          # ONNX Runtime lists all its domains; `check` finds used ones
    return folded


def copied_dimensions(model):
    """Give a Reshape a constant shape if its new sizes are constants, or copies of the input's sizes at the same place. That is
    one step instead of four or more, and small networks consist mostly of steps. `model` must be folded."""
    import onnx
    constants = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    added = {}
    for node in model.graph.node:
        plain = node.op_type == 'Reshape' and not any(entry.i for entry in node.attribute)     # allowzero
        if plain and getattr(makers.get(node.input[1]), 'op_type', '') == 'Concat':
            parts = [_chosen(name, node.input[0], makers, constants) for name in makers[node.input[1]].input]
            chosen = sum(parts, []) if None not in parts else [None]
            # 0 copies the input's size at this place. A size that was 0 before would have been an error.
            if all(isinstance(size, int) and size != 0 or size == (place,) for place, size in enumerate(chosen)):
                node.input[1] = f'sizes_{len(added)}'
                added[node.input[1]] = np.array([0 if isinstance(size, tuple) else size for size in chosen], np.int64)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in added.items())
    return without_unused(model)


def _chosen(name, data, makers, constants):
    """The items of a list of sizes: int for a constant, (place,) for the size of `data` at a place. None if one is neither."""
    if name in constants:
        return [int(size) for size in constants[name].reshape(-1)]
    node = makers.get(name)
    if node is None:
        return None
    if node.op_type in ('Squeeze', 'Unsqueeze', 'Cast', 'Identity'):
        return _chosen(node.input[0], data, makers, constants)
    source = makers.get(node.input[0])
    if node.op_type not in ('Slice', 'Gather') or source is None or source.op_type != 'Shape' or source.input[0] != data:
        return None
    given = [constants.get(value) for value in node.input[1:]]
    if any(value is None or value.size != 1 for value in given) or any(entry.i for entry in source.attribute):
        return None
    numbers = [int(value.reshape(-1)[0]) for value in given]
    first, behind, *rest = numbers if node.op_type == 'Slice' else [*numbers, numbers[0] + 1]
    return [(place,) for place in range(first, behind)] if 0 <= first < behind <= 8 and rest in ([], [0], [0, 1]) else None


def without_unused(model):
    """Remove nodes and weights that nothing reads."""
    used, nodes = {value.name for value in model.graph.output}, []
    for node in reversed(model.graph.node):
        if used.intersection(node.output):
            nodes.insert(0, node)
            used.update(node.input)
    weights = [value for value in model.graph.initializer if value.name in used]
    for field, kept in ((model.graph.node, nodes), (model.graph.initializer, weights)):
        if len(kept) < len(field):
            kept = [type(value).FromString(value.SerializeToString()) for value in kept]
            del field[:]
            field.extend(kept)
    return model


def label(model, outputs, dims, metadata):
    """Give the outputs and dynamic dimensions meaningful names, and add the metadata."""
    graph = model.graph
    del graph.value_info[:]                                        # these shapes use the old dimension names
    renamed = dict(zip((output.name for output in graph.output), outputs))
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.get(name, name)
    for output in graph.output:
        output.name = renamed[output.name]
    for entry, dim in zip(graph.input[0].type.tensor_type.shape.dim, dims):
        if dim:
            entry.dim_param = dim
    for output in graph.output:
        for i, entry in enumerate(output.type.tensor_type.shape.dim):
            if not entry.HasField('dim_value'):
                entry.dim_param = 'batch' if i == 0 else f'{output.name}_{i}'
    for key, text in metadata.items():
        model.metadata_props.add(key=key, value=text)
    graph.name, model.producer_name = json.loads(metadata['name']), 'paddle_mobile_backbones'


def check(model):
    """Run the ONNX checker, with shape inference, and refuse non-standard operators."""
    import onnx
    foreign = {f'{node.domain}.{node.op_type}' for node in model.graph.node if node.domain}
    if foreign:
        raise SystemExit(f'ValueError: the graph has operators that are not of ONNX itself: {", ".join(sorted(foreign))}')
    onnx.checker.check_model(model, full_check=True)


def _save(model, path):
    Path(path).write_bytes(model.SerializeToString())


def _write_openvino(onnx_path, path, metadata):
    """Write inference.xml and inference.bin, in float32."""
    openvino = import_openvino()
    model = openvino.Core().read_model(str(onnx_path))
    for key, text in metadata.items():
        model.set_rt_info(text, ['paddle_mobile_backbones', key])
    model.set_rt_info('f32', ['paddle_mobile_backbones', 'INFERENCE_PRECISION_HINT'])      # precision for compiling
    openvino.save_model(model, path, compress_to_fp16=False)


if __name__ == '__main__':
    tune_cpu()
    main(sys.argv[1])
