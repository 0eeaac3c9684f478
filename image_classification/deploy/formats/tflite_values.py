"""Values of an ONNX graph with fixed shapes while it is computed in TensorFlow, in the order of dimensions that LiteRT likes.

LiteRT computes with channels last, ONNX with channels second. A value with three or more dimensions is kept in either order,
and transposed only if an operator needs the other one. Between two convolutions nothing is transposed.
"""
from collections import namedtuple

import numpy as np
import tensorflow as tf
from onnx import numpy_helper

# tensor: a TensorFlow tensor, or an array if the value is constant. last: whether dimension 1 is at the end.
Value = namedtuple('Value', 'tensor last')


def to_last(rank):
    """The transposition that puts dimension 1 at the end."""
    return [0, *range(2, rank), 1]


def from_last(rank):
    return [0, rank - 1, *range(1, rank - 1)]


class Values:
    """The constants of an ONNX graph and, by name, its values that are known so far."""

    def __init__(self, model):
        self.graph = model.graph
        self.constants = {entry.name: numpy_helper.to_array(entry) for entry in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.readers = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.values = {}

    def known(self, name):
        """The array of a constant value, e.g. axes; None if the value is not constant or is missing."""
        return self.values[name].tensor if name and isinstance(self.values[name].tensor, np.ndarray) else None

    def plain(self, name):
        """A value with its dimensions in ONNX's order."""
        tensor, last = self.values[name]
        return tf.transpose(tensor, from_last(len(tensor.shape))) if last else tensor

    def last(self, name):
        """A value with dimension 1 at the end."""
        tensor, last = self.values[name]
        if last or len(tensor.shape) < 3:
            return tensor
        if isinstance(tensor, np.ndarray):
            return tensor.transpose(to_last(tensor.ndim))
        return tf.transpose(tensor, to_last(len(tensor.shape)))

    def shape(self, name):
        """The shape of a value, in ONNX's order."""
        tensor, last = self.values[name]
        sides = [int(side) for side in tensor.shape]
        return [sides[place] for place in from_last(len(sides))] if last else sides

    def _axis(self, name, axis):
        """The index at which one of ONNX's dimensions is stored."""
        tensor, last = self.values[name]
        axis = axis % len(tensor.shape)
        return to_last(len(tensor.shape)).index(axis) if last else axis

    def _only_reader(self, name, kind):
        """The node that reads a value, if it is the only one and has the type `kind`; None otherwise."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None
