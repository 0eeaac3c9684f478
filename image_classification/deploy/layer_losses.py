"""Signal-to-noise ratios: how much precision each layer of a quantised ONNX file loses by its own rounding."""

import numpy as np

from image_classification.deploy.engines.onnxruntime import open_session, session_options
from image_classification.deploy.formats.onnx_int8 import LAYERS
from image_classification.files import temporary_directory


def layer_losses(source, quantized, batch):
    """[(name of a node, dB)] of all quantised layers, the smallest signal-to-noise ratio first.

    The noise is what a layer adds by itself: the difference between its float output and its output with input, weights and
    output rounded to 8 bits. Both see the float network's input. One run of a graph with a rounded twin of every layer gives
    all of them.
    """
    import onnx
    import onnxruntime
    model, rounded = onnx.load(str(source)), onnx.load(str(quantized))
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f'{node.op_type}_{i}'
    by_name = {node.name: node for node in model.graph.node}
    makers = {output: node for node in rounded.graph.node for output in node.output}
    roundings = {node.input[0]: node for node in rounded.graph.node if node.op_type == 'QuantizeLinear'}
    known = {output for node in model.graph.node for output in node.output}
    graph, names = model.graph, []
    graph.initializer.extend(item for item in rounded.graph.initializer
                             if item.name not in {known.name for known in graph.initializer})
    for node in rounded.graph.node:
        if node.op_type in LAYERS and node.name in by_name and any(_is_rounded(name, makers) for name in node.input):
            output = _add_twin(graph, node, makers, roundings)
            # If an activation was merged into the layer, the output has the activation's name.
            exact = node.output[0] if node.output[0] in known else by_name[node.name].output[0]
            _add_energies(graph, node.name, exact, output)
            names.append(node.name)
    del graph.output[:]
    for name in names:
        for kind in ('signal', 'noise'):
            graph.output.append(onnx.helper.make_tensor_value_info(f'{name}/{kind}', onnx.TensorProto.FLOAT, []))
    with temporary_directory() as scratch:                         # a file: large models do not fit into a protobuf message
        onnx.save(model, f'{scratch}/twins.onnx')
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL    # keeps Q/DQ pairs as they are
        session = open_session(f'{scratch}/twins.onnx', options)
        energies = session.run(None, {session.get_inputs()[0].name: batch})
    ratios = [10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)) for signal, noise in zip(energies[::2], energies[1::2])]
    return sorted(((name, float(ratio)) for name, ratio in zip(names, ratios)), key=lambda pair: pair[1])


def _is_rounded(name, makers):
    return name in makers and makers[name].op_type == 'DequantizeLinear'


def _add_twin(graph, rounded, makers, roundings):
    """Add the layer `rounded` with its roundings to a float graph, with inputs from that graph. Returns its output's name."""
    prefix = rounded.name + '/twin'
    twin = _copy(rounded, prefix, f'{prefix}/output')
    for i, name in enumerate(rounded.input):
        if not _is_rounded(name, makers):
            continue
        restore = _copy(makers[name], f'{prefix}/{i}', f'{prefix}/{i}/restored')
        if restore.input[0] in makers:                             # an activation; weights are already rounded in the file
            graph.node.append(_copy(makers[restore.input[0]], f'{prefix}/{i}/round', f'{prefix}/{i}/rounded'))
            restore.input[0] = f'{prefix}/{i}/rounded'
        graph.node.append(restore)
        twin.input[i] = restore.output[0]
    graph.node.append(twin)
    if rounded.output[0] not in roundings:
        return twin.output[0]
    rounding = _copy(roundings[rounded.output[0]], f'{prefix}/round', f'{prefix}/rounded')
    rounding.input[0] = twin.output[0]
    restore = _copy(rounding, f'{prefix}/restore', f'{prefix}/restored')
    restore.op_type, restore.input[0] = 'DequantizeLinear', rounding.output[0]
    graph.node.extend([rounding, restore])
    return restore.output[0]


def _copy(node, name, output):
    """A copy of a node, with new names for itself and its output."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.name, copy.output[0] = name, output
    return copy


def _add_energies(graph, name, exact, found):
    """Add the sum of squares of `exact` as <name>/signal, and that of its difference from `found` as <name>/noise."""
    from onnx.helper import make_node
    graph.node.extend([make_node('Sub', [exact, found], [f'{name}/difference']),
                       make_node('ReduceSumSquare', [exact], [f'{name}/signal'], keepdims=0),
                       make_node('ReduceSumSquare', [f'{name}/difference'], [f'{name}/noise'], keepdims=0)])
