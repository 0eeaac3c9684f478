"""Computes an ONNX graph with fixed shapes in TensorFlow, operator by operator, for `tflite`."""
import numpy as np
import tensorflow as tf
from onnx import numpy_helper
from onnx.helper import get_attribute_value

from image_classification.deploy.formats.tflite_maps import Maps
from image_classification.deploy.formats.tflite_values import Value, from_last, to_last

_UNARY = {'Relu': tf.nn.relu, 'Sigmoid': tf.sigmoid, 'Tanh': tf.tanh, 'Sqrt': tf.sqrt, 'Exp': tf.exp, 'Abs': tf.abs,
          'Neg': tf.negative, 'Sin': tf.sin, 'Cos': tf.cos, 'Identity': tf.identity, 'Floor': tf.floor,
          'Reciprocal': lambda x: 1.0 / x,
          'HardSwish': lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6)}
_BINARY = {'Add': tf.add, 'Sub': tf.subtract, 'Mul': tf.multiply, 'Div': tf.divide, 'Max': tf.maximum, 'Min': tf.minimum,
           'Pow': tf.pow}
_REDUCTIONS = {'ReduceMean': tf.reduce_mean, 'ReduceSum': tf.reduce_sum, 'ReduceMax': tf.reduce_max,
               'ReduceMin': tf.reduce_min, 'ReduceL2': lambda x, axes, keep: tf.sqrt(tf.reduce_sum(x * x, axes, keep))}


class Graph(Maps):
    """Computes an ONNX graph, node by node, in TensorFlow."""

    def run(self, image, last):
        """The outputs of the graph, with dimensions in ONNX's order, for its only input."""
        self.values = {name: Value(array, False) for name, array in self.constants.items()}
        self.values[self.graph.input[0].name] = Value(image, last)
        for node in self.graph.node:
            if node.output[0] in self.values:                      # computed as part of an earlier node
                continue
            given = {entry.name: get_attribute_value(entry) for entry in node.attribute}
            if not hasattr(self, f'_{node.op_type}') and node.op_type not in _UNARY and node.op_type not in _BINARY \
                    and node.op_type not in _REDUCTIONS:
                raise SystemExit(f'ValueError: {node.op_type} has no counterpart in LiteRT here')
            made = self._make(node, given)
            for name, value in zip(node.output, made if isinstance(made, list) else [made]):
                self.values[name] = value
        return [self.plain(entry.name) for entry in self.graph.output]

    def _make(self, node, given):
        if node.op_type in _UNARY:
            tensor, last = self.values[node.input[0]]
            return Value(_UNARY[node.op_type](tensor), last)
        if node.op_type in _BINARY:
            return self._binary(node, _BINARY[node.op_type])
        if node.op_type in _REDUCTIONS:
            return self._reduce(node, given, _REDUCTIONS[node.op_type])
        return getattr(self, f'_{node.op_type}')(node, given)

    # Elementwise

    def _binary(self, node, function):
        ranks = [len(self.values[name].tensor.shape) for name in node.input]
        largest = max(ranks)
        if not any(self.values[name].last for name in node.input):
            return Value(self._fold(function, [self.values[name].tensor for name in node.input]), False)
        tensors = []
        for name, rank in zip(node.input, ranks):
            tensor, last = self.values[name]
            if not last and rank and rank < largest:               # broadcasting adds dimensions in front, in ONNX's order
                tensor = _reshape(tensor, [1] * (largest - rank) + list(tensor.shape))
                rank = largest
            if not last and rank:
                order = to_last(rank)
                tensor = tensor.transpose(order) if isinstance(tensor, np.ndarray) else _transpose(tensor, order)
            elif last and rank < largest:
                tensor = _transpose(self.plain(name)[tf.newaxis], to_last(largest))
            tensors.append(tensor)
        return Value(self._fold(function, tensors), True)

    @staticmethod
    def _fold(function, tensors):
        result = tensors[0]
        for tensor in tensors[1:]:
            result = function(result, tensor)
        return result

    def _Clip(self, node, given):
        tensor, last = self.values[node.input[0]]
        least, most = (self.known(name) for name in [*node.input[1:], '', ''][:2])
        if least is not None and float(least) == 0.0 and most is not None and float(most) == 6.0:
            return Value(tf.nn.relu6(tensor), last)
        if least is not None:
            tensor = tf.nn.relu(tensor) if float(least) == 0.0 else tf.maximum(tensor, least)
        return Value(tensor if most is None else tf.minimum(tensor, most), last)

    def _HardSigmoid(self, node, given):
        tensor, last = self.values[node.input[0]]
        alpha, beta = given.get('alpha', 0.2), given.get('beta', 0.5)
        if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
            return Value(tf.nn.relu6(tensor + 3.0) * (1 / 6), last)
        return Value(tf.clip_by_value(tensor * alpha + beta, 0.0, 1.0), last)

    def _Erf(self, node, given):
        """Erf as part of a GELU, which becomes one operator: x / sqrt(2), erf, + 1, and the products with x and 0.5."""
        scaled = self.makers.get(node.input[0])
        source, factor = self._operand(scaled, ('Div', 'Mul'))
        plus, one = self._reader(node.output[0], 'Add')
        fits = source and one == 1.0 and abs((factor if scaled.op_type == 'Div' else 1 / factor) - 2 ** 0.5) < 1e-4
        parts = self._products_of(source, plus.output[0]) if fits else None
        if not parts:
            raise SystemExit('ValueError: Erf, which LiteRT has only as part of a GELU')
        tensor, last = self.values[source]
        made = Value(tf.nn.gelu(tensor, approximate=False), last)
        self.values.update(dict.fromkeys([plus.output[0], *parts], made))     # only the last one is read
        return made

    def _products_of(self, source, name):
        """The outputs of the nodes that multiply a value by `source` and 0.5, in any order; None if there are no such nodes."""
        found, wanted = [], {source, 0.5}
        while wanted:
            product = self._only_reader(name, 'Mul')
            if product is None:
                return None
            [other] = [given for given in product.input if given != name]
            half = self._operand(self.makers.get(other), ('Mul',))             # x * 0.5 was computed first
            number = self.constants.get(other)
            factors = {number.item() if number is not None and number.size == 1 else other}
            if factors <= wanted or set(half) <= wanted:
                wanted -= factors if factors <= wanted else set(half)
            else:
                return None
            name = product.output[0]
            found.append(name)
        return found

    def _operand(self, node, kinds):
        """(name of a node's variable input, its constant scalar input); (None, None) for other nodes."""
        if node is None or node.op_type not in kinds:
            return None, None
        for name, other in (node.input, [*node.input][::-1]):
            number = self.constants.get(other)
            if number is not None and number.size == 1:
                return name, float(number.item())
        return None, None

    def _reader(self, name, kind):
        """(the only node that reads a value, that node's constant scalar input)."""
        reader = self._only_reader(name, kind)
        return (reader, self._operand(reader, (kind,))[1]) if reader else (None, None)

    def _Cast(self, node, given):
        tensor, last = self.values[node.input[0]]
        kinds = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 2: np.uint8}
        if isinstance(tensor, np.ndarray):
            return Value(tensor.astype(kinds[given['to']]), last)
        return Value(tf.cast(tensor, kinds[given['to']]), last)

    def _reduce(self, node, given, function):
        name = node.input[0]
        axes = given.get('axes')
        if axes is None and len(node.input) > 1:
            axes = [int(axis) for axis in self.known(node.input[1])]
        rank, keep = len(self.shape(name)), bool(given.get('keepdims', 1))
        axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
        tensor, last = self.values[name]
        if not last:
            return Value(function(tensor, axes, keep), False)
        made = function(tensor, [self._axis(name, axis) for axis in axes], keep)
        if keep:
            return Value(made, True)
        left = [axis for axis in range(rank) if axis not in axes]
        if left[:2] == [0, 1] or 1 not in left:
            return Value(made, 1 in left and len(left) > 2)
        return Value(function(self.plain(name), axes, keep), False)

    def _Softmax(self, node, given):
        rank, axis = len(self.shape(node.input[0])), given.get('axis', -1)
        tensor, last = self.values[node.input[0]]
        if last and axis % rank == 1:
            return Value(tf.nn.softmax(tensor, -1), True)
        return Value(tf.nn.softmax(self.plain(node.input[0]), axis), False)

    # Products

    def _MatMul(self, node, given):
        first, second = node.input
        weight = self.constants.get(first)
        if weight is not None and weight.ndim == 2 and len(self.shape(second)) == 3 and self.values[second].last:
            return Value(tf.matmul(self.values[second].tensor, np.ascontiguousarray(weight.T)), True)
        return Value(tf.matmul(self.plain(first), self.plain(second)), False)

    def _Einsum(self, node, given):
        """A product of rows with rows, as in 'bhml,bhcl->bhmc'."""
        terms, result = given['equation'].decode().replace(' ', '').split('->')
        first, second = terms.split(',')
        if first[:-2] != second[:-2] or first[-1] != second[-1] or result != first[:-1] + second[-2]:
            raise SystemExit(f'ValueError: the product {given["equation"].decode()}')
        return Value(tf.matmul(self.plain(node.input[0]), self.plain(node.input[1]), transpose_b=True), False)

    def _Gemm(self, node, given):
        first, second = self.plain(node.input[0]), self.plain(node.input[1])
        y = tf.matmul(first, second, bool(given.get('transA')), bool(given.get('transB'))) * given.get('alpha', 1.0)
        return Value(y + given.get('beta', 1.0) * self.plain(node.input[2]) if len(node.input) > 2 else y, False)

    # Shapes

    def _Reshape(self, node, given):
        name, before = node.input[0], self.shape(node.input[0])
        after = [int(side) for side in self.known(node.input[1])]
        after = [before[place] if side == 0 else side for place, side in enumerate(after)]
        if -1 in after:
            rest = -np.prod(after)
            after[after.index(-1)] = int(np.prod(before) // rest)
        return self._shuffled(node, before, after) or self._reshaped(name, before, after)

    def _shuffled(self, node, before, after):
        """If a channel shuffle begins at this Reshape: its result, with channels still last. None for any other Reshape."""
        tensor, last = self.values[node.input[0]]
        if not last or len(before) != 4 or len(after) != 5 or after[0] != before[0] or after[3:] != before[2:]:
            return None
        turn = self._only_reader(node.output[0], 'Transpose')
        end = turn and self._only_reader(turn.output[0], 'Reshape')
        if not end or list(get_attribute_value(turn.attribute[0])) != [0, 2, 1, 3, 4] or end.input[1] not in self.constants:
            return None
        sides = self.constants[end.input[1]].tolist()
        if len(sides) != 4 or sides[1] not in (before[1], -1) or sides[2:] not in (before[2:], [0, 0]):
            return None
        parted = tf.transpose(tf.reshape(tensor, [before[0], *before[2:], *after[1:3]]), [0, 1, 2, 4, 3])
        made = Value(tf.reshape(parted, [before[0], *before[2:], before[1]]), True)
        self.values[turn.output[0]] = self.values[end.output[0]] = made    # nothing else reads the values between
        return made

    def _reshaped(self, name, before, after):
        tensor, last = self.values[name]
        if last and len(after) > 1 and before[:2] == after[:2]:    # the channels do not change
            return Value(_reshape(tensor, [after[0], *after[2:], after[1]]), len(after) > 2)
        if last and np.prod(before[2:]) == 1:                      # nothing to transpose
            return Value(_reshape(tensor, after), False)
        return Value(_reshape(self.plain(name), after), False)

    def _Flatten(self, node, given):
        before, axis = self.shape(node.input[0]), given.get('axis', 1)
        return self._reshaped(node.input[0], before, [int(np.prod(before[:axis])), int(np.prod(before[axis:]))])

    def _Squeeze(self, node, given):
        before = self.shape(node.input[0])
        axes = given.get('axes') or (self.known(node.input[1]).tolist() if len(node.input) > 1 else
                                     [place for place, side in enumerate(before) if side == 1])
        axes = [axis % len(before) for axis in axes]
        return self._reshaped(node.input[0], before, [side for place, side in enumerate(before) if place not in axes])

    def _Unsqueeze(self, node, given):
        before = self.shape(node.input[0])
        axes = given.get('axes') or self.known(node.input[1]).tolist()
        rank = len(before) + len(axes)
        axes, sides = [axis % rank for axis in axes], iter(before)
        return self._reshaped(node.input[0], before, [1 if place in axes else next(sides) for place in range(rank)])

    def _Transpose(self, node, given):
        tensor, last = self.values[node.input[0]]
        rank = len(tensor.shape)
        order = list(given.get('perm', range(rank)[::-1]))
        stored = [to_last(rank).index(axis) for axis in order] if last else order   # from the stored order to ONNX's new order
        if stored == list(range(rank)):
            return Value(tensor, False)
        if rank > 2 and stored == from_last(rank):
            return Value(tensor, True)
        return Value(tf.transpose(tensor, stored), False)

    def _Concat(self, node, given):
        last = any(self.values[name].last for name in node.input)
        if not last:
            tensors = [self.values[name].tensor for name in node.input]
            if all(isinstance(tensor, np.ndarray) for tensor in tensors):
                return Value(np.concatenate(tensors, given['axis']), False)
            return Value(tf.concat(tensors, given['axis']), False)
        rank = len(self.shape(node.input[0]))
        return Value(tf.concat([self.last(name) for name in node.input], to_last(rank).index(given['axis'] % rank)), True)

    def _Split(self, node, given):
        tensor, last = self.values[node.input[0]]
        axis = self._axis(node.input[0], given.get('axis', 0))
        sizes = given.get('split') or (self.known(node.input[1]).tolist() if len(node.input) > 1 else len(node.output))
        return [Value(part, last) for part in tf.split(tensor, sizes, axis)]

    def _Slice(self, node, given):
        tensor, last = self.values[node.input[0]]
        starts, ends, axes, steps = (self.known(name) for name in [*node.input[1:], '', ''][:4])
        cuts = [slice(None)] * len(tensor.shape)
        for place, axis in enumerate(range(len(starts)) if axes is None else axes):
            end = int(ends[place])
            cuts[self._axis(node.input[0], int(axis))] = slice(
                int(starts[place]), None if abs(end) > 2**30 else end, 1 if steps is None else int(steps[place]))
        return Value(tensor[tuple(cuts)], last)

    def _Gather(self, node, given):
        tensor, last = self.values[node.input[0]]
        indices = self.known(node.input[1])
        if indices is not None and indices.ndim == 1:
            return Value(tf.gather(tensor, indices, axis=self._axis(node.input[0], given.get('axis', 0))), last)
        return Value(tf.gather(self.plain(node.input[0]), self.plain(node.input[1]), axis=given.get('axis', 0)), False)

    def _Expand(self, node, given):
        sides = np.broadcast_shapes(self.shape(node.input[0]), [int(side) for side in self.known(node.input[1])])
        return Value(tf.broadcast_to(self.plain(node.input[0]), sides), False)

    def _Tile(self, node, given):
        return Value(tf.tile(self.plain(node.input[0]), self.known(node.input[1]).tolist()), False)

    def _Constant(self, node, given):
        array = numpy_helper.to_array(given['value'])
        self.constants[node.output[0]] = array
        return Value(array, False)


def _reshape(tensor, sides):
    return tensor.reshape(sides) if isinstance(tensor, np.ndarray) else tf.reshape(tensor, sides)


def _transpose(tensor, order):
    if all(int(side) == 1 for side in list(tensor.shape)[1:]):
        return tensor
    return tf.transpose(tensor, order)
