"""Pickles that hold arrays and plain containers, read without running anything that the file asks for.

For the CIFAR archives (written by Python 2) and for .pdparams files, both of which are pickles. Neither is rebuilt by
numpy's own unpickling functions, which trust the file: a forged dtype can make them follow raw bytes as pointers. The
few names that such files use are read as the small classes below, from which `load` builds new arrays at the end.
Every class has `__setstate__`, so that a forged file cannot change attributes of the class itself.
"""
import collections
import pickle

import numpy as np

from image_classification.errors import UserError

_KINDS = 'biufcSU'                         # no objects (O), no records (V): arrays of numbers and of text


class _Encoded:
    """`_codecs.encode(text, 'latin1')`: how protocol 2 writes bytes."""

    def __new__(cls, text, encoding='latin1'):
        if encoding != 'latin1':
            raise UserError(f'bytes in the encoding {encoding!r}; wanted latin1')
        return text.encode('latin1')

    def __setstate__(self, state):
        raise UserError('a state for bytes')


class _Dtype:
    """`numpy.dtype('f4', False, True)`, then a state whose second item is the byte order."""

    def __init__(self, code, align=False, copy=True):
        dtype = np.dtype(_text(code))
        if dtype.kind not in _KINDS or dtype.subdtype:
            raise UserError(f'an array of {dtype}; wanted numbers or text')
        self.value = dtype

    def __setstate__(self, state):
        self.value = self.value.newbyteorder(_text(state[1]))


class _Array:
    """`_reconstruct(ndarray, (0,), b'b')`, whose arguments say nothing, then a state with shape, dtype and bytes."""

    def __init__(self, *ignored):
        self.value = None

    def __setstate__(self, state):
        _, shape, dtype, fortran_order, data = state
        self.value = _build(data, dtype, shape, 'F' if fortran_order else 'C')


class _Buffer(_Array):
    """`_frombuffer(bytes, dtype, shape, order)`: how protocol 5 writes an array."""

    def __init__(self, data, dtype, shape, order='C'):
        self.value = _build(data, dtype, shape, order)


class _Scalar(_Array):
    """`scalar(dtype, bytes)`: one numpy number."""

    def __init__(self, dtype, data):
        self.value = _build(data, dtype, (1,), 'C')[0]


_NUMPY = {'_reconstruct': _Array, '_frombuffer': _Buffer, 'scalar': _Scalar}
_ADMITTED = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _Dtype,
    ('_codecs', 'encode'): _Encoded,
    ('collections', 'OrderedDict'): collections.OrderedDict,
    # Both generations of numpy and of Python: `core` became `_core`, `__builtin__` became `builtins`.
    **{(f'numpy.{core}.{module}', name): kind for core in ('core', '_core') for module in ('multiarray', 'numeric')
       for name, kind in _NUMPY.items()},
    **{(module, kind.__name__): kind for module in ('builtins', '__builtin__')
       for kind in (tuple, list, dict, set, frozenset, complex, bytes, bytearray)},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise UserError(f'it asks for {module}.{name}')
        return _ADMITTED[module, name]


def load(file, encoding='ASCII', name=None):
    """The object in a pickle of arrays, numbers, text and plain containers.

    Args:
        file: a path, or a binary file opened for reading.
        encoding: how text written by Python 2 is read: 'ASCII', 'latin1', or 'bytes' to leave it as bytes.
        name: what errors call the file; by default its path.
    Raises:
        UserError: the file asks for anything else (named; nothing of it has been run), or is damaged.
    """
    if not hasattr(file, 'read'):
        try:
            with open(file, 'rb') as opened:
                return load(opened, encoding, name or file)
        except OSError as error:
            raise UserError(f'{file} cannot be read: {error.strerror}') from None
    name = name or getattr(file, 'name', 'the pickle')
    try:
        return _plain(_Unpickler(file, encoding=encoding).load())
    except UserError as error:
        raise UserError(f'{name} was refused: {error}. Only arrays of numbers and plain containers are read, because a '
                        f'pickle can run any program. Use a file from a source you trust.') from None
    except Exception as error:             # the bytes decide what goes wrong: a damaged pickle can raise nearly anything
        raise UserError(f'{name} is damaged or no pickle of arrays ({type(error).__name__}: {error}). '
                        f'Wanted a complete file: fetch or copy it again.') from None


def _text(value):
    """Python 2's str arrives as bytes or as str, depending on `encoding`."""
    return value.decode('ascii') if isinstance(value, bytes) else str(value)


def _build(data, dtype, shape, order):
    """A new array of its own memory; `data` is text where Python 2's bytes were read as latin1."""
    if not isinstance(dtype, _Dtype):
        raise UserError(f'an array whose type is {dtype!r}')
    data = data.encode('latin1') if isinstance(data, str) else data
    if not isinstance(data, (bytes, bytearray)):
        raise UserError(f'an array made of a {type(data).__name__}')
    if not data and 0 in shape:
        return np.zeros(shape, dtype.value)
    return np.frombuffer(data, dtype.value).reshape(shape, order=order).copy(order)


def _plain(value):
    """`value` with arrays in place of the stand-ins, in new dicts, lists and tuples."""
    if isinstance(value, (_Array, _Dtype)):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in dict.items(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return value
