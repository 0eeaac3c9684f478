"""Reads pickles of arrays and plain containers without running any code that the file names.

For the CIFAR archives (written by Python 2) and for .pdparams files. Arrays are not rebuilt with numpy's own unpickling
functions, which trust the file: a forged dtype can make them use raw bytes as pointers. `NAMES` has their replacements.
"""
import math
import re
from contextlib import contextmanager

import numpy as np

from image_classification.errors import UserError
from image_classification.weights.formats.pickle_machine import Opaque, Pending, Unpickler, check_key

_KINDS = 'biufcSU'                         # numbers and text; no objects (O), no records (V)
_MAX_DIMENSIONS = 32


def load(file, encoding='ASCII', name=None):
    """The object in a pickle of arrays, numbers, text and plain containers. Subclasses of dict become dicts.

    Args:
        file: a path, or a binary file opened for reading.
        encoding: encoding of text written by Python 2: 'ASCII', 'latin1', or 'bytes' to leave it as bytes.
        name: the file's name in errors; by default its path.
    Raises:
        UserError: the file contains anything else, which the message names and which is not run, or it is damaged.
    """
    if not hasattr(file, 'read'):
        try:
            with open(file, 'rb') as opened:
                return load(opened, encoding, name or file)
        except OSError as error:
            raise UserError(f'{file} cannot be read: {error.strerror}') from None
    with errors_of(name or getattr(file, 'name', 'the pickle'), 'pickle of arrays'):
        return Unpickler(file, NAMES, encoding).load()


@contextmanager
def errors_of(name, kind, advice='Use a file from a source you trust.'):
    """Turn any error in reading a file of this `kind` into one UserError that names the file. If the file was refused, the
    message ends in `advice`."""
    try:
        yield
    except UserError as error:
        raise UserError(f'{name} was refused: {error}. Only arrays of numbers and plain containers are read, because a '
                        f'pickle can run any program. {advice}') from None
    except Exception as error:             # a damaged pickle can raise nearly anything
        raise UserError(f'{name} is damaged or no {kind} ({type(error).__name__}: {str(error)[:200]}). '
                        f'Wanted a complete file: fetch or copy it again.') from None


def _text(value):
    """A text of the file as str. Python 2's str arrives as bytes or as str, depending on `encoding`."""
    if not isinstance(value, (bytes, str)):
        raise UserError(f'a {type(value).__name__} where a text is wanted')
    return value.decode('ascii') if isinstance(value, bytes) else value


def _encode(machine, text, encoding='latin1'):
    """Stands for `_codecs.encode(text, 'latin1')`, by which protocol 2 writes bytes."""
    if encoding not in ('latin1', 'latin-1') or not isinstance(text, str):
        raise UserError('bytes in another encoding than latin1')
    machine.spend(copied=len(text))
    return text.encode('latin1')


def _dtype(machine, code, align=False, copy=True):
    """Stands for `numpy.dtype('f4', False, True)`, followed by a state whose second item is the byte order."""
    code = _text(code)
    if not re.fullmatch(r'[<>=|]?[a-zA-Z?]\d{0,9}', code):
        raise UserError(f'an array of {code[:40]!r}; wanted numbers or text')
    dtype = np.dtype(code)
    if dtype.kind not in _KINDS:
        raise UserError(f'an array of {dtype}; wanted numbers or text')

    def complete(state):
        return dtype.newbyteorder(_text(state[1])[:1])
    return Pending(complete, dtype)


def _array(machine, *ignored):
    """Stands for `_reconstruct(ndarray, (0,), b'b')`, whose arguments carry no information, followed by a state with shape,
    dtype and bytes."""
    def complete(state):
        _, shape, dtype, fortran_order, data = state
        return _buffer(machine, data, dtype, shape, 'F' if fortran_order else 'C')
    return Pending(complete)


def _buffer(machine, data, dtype, shape, order='C'):
    """Stands for `_frombuffer(bytes, dtype, shape, order)`, by which protocol 5 writes an array. The result owns its memory.

    `data` is text if Python 2's bytes were read as latin1.
    """
    if not isinstance(dtype, np.dtype) or not isinstance(data, (bytes, str)):
        raise UserError(f'an array made of a {type(data).__name__} and a {type(dtype).__name__}')
    machine.spend(copied=len(data))
    data = bytearray(data, 'latin1') if isinstance(data, str) else bytearray(data)
    check_shape(shape)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f'an array with {len(data)} bytes of data; its shape wants {math.prod(shape) * dtype.itemsize}')
    array = np.frombuffer(data, dtype) if data else np.zeros(0, dtype)
    return array.reshape(shape, order=_text(order))


def check_shape(shape):
    """Raise UserError unless `shape` is a tuple of at most _MAX_DIMENSIONS non-negative integers."""
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise UserError(f'an array whose shape is no tuple of at most {_MAX_DIMENSIONS} lengths')


def _scalar(machine, dtype, data):
    """Stands for `scalar(dtype, bytes)`, one numpy number."""
    return _buffer(machine, data, dtype, (1,))[0]


def _copy(kind):
    """Stands for `kind(items)`, which copies the items."""
    def make(machine, items=()):
        if not isinstance(items, (list, tuple, set, frozenset)):
            raise UserError(f'a {kind.__name__} made of a {type(items).__name__}')
        machine.spend(len(items))
        return kind(map(check_key, items)) if kind in (set, frozenset) else kind(items)
    return make


def _dict(machine, items=()):
    """A plain dict, from a dict or from pairs, as Python 2 wrote them."""
    pairs = items.items() if isinstance(items, dict) else items
    machine.spend(len(items))
    return {check_key(key): value for key, value in pairs}


def _default_dict(machine, factory=None, items=()):
    return _dict(machine, items)


def _bytes(machine, data=b'', encoding='latin1'):
    if isinstance(data, bytes):
        return data
    return _encode(machine, data, encoding)                        # bytes(10 ** 12) would reserve that much memory


def _complex(machine, real, imaginary):
    return complex(float(real), float(imaginary))


def _opaque(machine, *arguments):
    return Opaque()


_BUILTINS = {'tuple': _copy(tuple), 'list': _copy(list), 'set': _copy(set), 'frozenset': _copy(frozenset), 'dict': _dict,
             'bytes': _bytes, 'bytearray': _bytes, 'complex': _complex,
             # Factories of a defaultdict become texts and are never called. Protocol 2 writes the names of Python 2.
             **{name: name for name in ('int', 'long', 'float', 'bool', 'str', 'unicode')}}
_ARRAYS = {'_reconstruct': _array, '_frombuffer': _buffer, 'scalar': _scalar}

# {(module, name): function of the machine and a call's arguments}. Nothing else is accepted.
NAMES = {
    ('numpy', 'ndarray'): _array,
    ('numpy', 'dtype'): _dtype,
    ('_codecs', 'encode'): _encode,
    ('collections', 'OrderedDict'): _dict,
    ('collections', 'Counter'): _dict,                             # in schedulers with milestones
    ('collections', 'defaultdict'): _default_dict,
    # Both generations of numpy and of Python: `core` became `_core`, `__builtin__` became `builtins`.
    **{(f'numpy.{core}.{module}', name): make for core in ('core', '_core') for module in ('multiarray', 'numeric')
       for name, make in _ARRAYS.items()},
    **{(module, name): make for module in ('builtins', '__builtin__') for name, make in _BUILTINS.items()},
    # Options of training programs, beside the weights in their checkpoints.
    **{place: _opaque for place in (
        ('argparse', 'Namespace'), ('types', 'SimpleNamespace'), ('yacs.config', 'CfgNode'), ('easydict', 'EasyDict'),
        ('addict.addict', 'Dict'), ('mmengine.config.config', 'ConfigDict'), ('fvcore.common.config', 'CfgNode'),
        ('ml_collections.config_dict.config_dict', 'ConfigDict'), ('omegaconf.dictconfig', 'DictConfig'),
        ('omegaconf.listconfig', 'ListConfig'), ('omegaconf.base', 'ContainerMetadata'), ('omegaconf.base', 'Metadata'),
        *(('omegaconf.nodes', f'{kind}Node') for kind in ('Any', 'String', 'Integer', 'Float', 'Boolean')), ('typing', 'Any'),
        *((f'{package}.utilities.{module}', 'AttributeDict') for package, module in (
            ('lightning_fabric', 'data'), ('lightning.fabric', 'data'), ('pytorch_lightning', 'parsing'))),
        *((module, f'{pure}{system}Path') for module in ('pathlib', 'pathlib._local') for pure in ('', 'Pure')
          for system in ('', 'Posix', 'Windows')))},
}
