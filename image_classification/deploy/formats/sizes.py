"""Infers which maps of an ONNX graph have the same height and width if these are dynamic, and names them in the graph.

ONNX's own shape inference gives up if height and width are names. ONNX Runtime fuses a residual sum with the convolution before
it only if it knows that the two maps have the same size.
"""
_KEEP = {'Relu', 'Clip', 'Sigmoid', 'HardSigmoid', 'HardSwish', 'Tanh', 'Erf', 'Gelu', 'Softmax', 'Identity', 'Sqrt', 'Exp',
         'BatchNormalization', 'LayerNormalization'}
_BROADCAST = {'Add', 'Sub', 'Mul', 'Div', 'Pow', 'Max', 'Min'}


def write(model):
    """Add the shapes of all maps whose sizes follow from the input's; others are left out. A dimension is a number, or a name
    that stands for the same number everywhere."""
    from onnx.helper import make_tensor_value_info
    graph = model.graph
    given = graph.input[0].type.tensor_type
    found = shapes(graph, [entry.dim_value or entry.dim_param or None for entry in given.shape.dim])
    outputs = {value.name for value in graph.output}
    for name, shape in found.items():
        if len(shape) == 4 and name not in outputs and name != graph.input[0].name:
            graph.value_info.append(make_tensor_value_info(name, 1, shape))


def shapes(graph, first):
    """{name: shape} of float tensors. `first` is the input's shape."""
    from onnx.helper import get_attribute_value
    weights = {value.name: list(value.dims) for value in graph.initializer}
    known, measured = {graph.input[0].name: first}, {}
    for node in graph.node:
        inputs = [known.get(name, weights.get(name)) for name in node.input]
        values = {entry.name: get_attribute_value(entry) for entry in node.attribute}
        if node.op_type == 'Shape' and node.input[0] in known and not values.get('start') and 'end' not in values:
            measured[node.output[0]] = node.input[0]
        elif node.op_type == 'Cast' and node.input[0] in measured:
            measured[node.output[0]] = measured[node.input[0]]
        elif node.op_type == 'Reshape' and node.input[1] in measured:
            known[node.output[0]] = known[measured[node.input[1]]]
        else:
            shape = _shape(node.op_type, inputs, values)
            if shape is not None and None not in shape:
                known[node.output[0]] = shape
    return known


def _shape(kind, inputs, values):
    """The shape of an operator's first output; None if it does not follow."""
    if kind in _BROADCAST:
        return _broadcast(inputs)
    if not inputs or inputs[0] is None:
        return None
    if kind in _KEEP:
        return inputs[0]
    if kind == 'Transpose':
        return [inputs[0][axis] for axis in values['perm']]
    if kind == 'GlobalAveragePool':
        return [*inputs[0][:2], *[1] * len(inputs[0][2:])]
    if kind in ('Conv', 'MaxPool', 'AveragePool') and len(inputs[0]) == 4:
        kernel = values.get('kernel_shape') or inputs[1][2:]
        return [inputs[0][0], inputs[1][0] if kind == 'Conv' else inputs[0][1], *_slid(inputs[0][2:], kernel, values)]
    if kind == 'Concat' and None not in inputs:
        axis, ends = values['axis'], [shape[values['axis']] for shape in inputs]
        others = [[*shape[:axis], *shape[axis + 1:]] if axis >= 0 else None for shape in inputs]
        if others[0] and all(other == others[0] for other in others) and all(isinstance(end, int) for end in ends):
            return [*inputs[0][:axis], sum(ends), *inputs[0][axis + 1:]]
    if kind == 'Gather' and len(inputs[1] or ()) == 1 and values.get('axis') == 1:
        return [inputs[0][0], inputs[1][0], *inputs[0][2:]]
    return None


def _broadcast(inputs):
    """The shape after broadcasting; None unless the shapes certainly fit."""
    if None in inputs:
        return None
    rank = max(map(len, inputs))
    columns = zip(*[[1] * (rank - len(shape)) + list(shape) for shape in inputs])
    sides = [{size for size in column if size != 1} or {1} for column in columns]
    return [side.pop() for side in sides] if all(len(side) == 1 for side in sides) else None


def _slid(sides, kernel, values):
    """Height and width after a sliding window."""
    strides, steps = values.get('strides', [1, 1]), values.get('dilations', [1, 1])
    pads, found = values.get('pads', [0] * 4), []
    if values.get('auto_pad', b'NOTSET') != b'NOTSET' or values.get('ceil_mode'):
        return [None, None]
    for axis, side in enumerate(sides):
        lost = steps[axis] * (kernel[axis] - 1) - pads[axis] - pads[axis + 2]
        if isinstance(side, int):
            found.append((side - lost - 1) // strides[axis] + 1)
        else:                                                      # a name that says how the size is computed
            found.append(side if lost == 0 and strides[axis] == 1 else f'({side}-{lost + 1})//{strides[axis]}+1')
    return found
