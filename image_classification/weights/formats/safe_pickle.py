"""Pickles that hold arrays and plain containers, read without running anything that the file asks for.

For the CIFAR archives (written by Python 2) and for .pdparams files. Arrays are not rebuilt by numpy's own unpickling
functions, which trust the file: a forged dtype can make them follow raw bytes as pointers. `NAMES` says what stands for them.
"""
import math
import re
from contextlib import contextmanager

import numpy as np

from image_classification.errors import UserError
from image_classification.weights.formats.pickle_machine import Opaque, Pending, Unpickler, check_key

_KINDS = 'biufcSU'                         # no objects (O), no records (V): arrays of numbers and of text
_MAX_DIMENSIONS = 32


def load(file, encoding='ASCII', name=None):
    """The object in a pickle of arrays, numbers, text and plain containers; subclasses of dict become dicts.

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
    with errors_of(name or getattr(file, 'name', 'the pickle'), 'pickle of arrays'):
        return Unpickler(file, NAMES, encoding).load()


@contextmanager
def errors_of(name, kind, advice='Use a file from a source you trust.'):
    """Whatever a file of this `kind` makes go wrong becomes one UserError that names the file; `advice` for one refused."""
    try:
        yield
    except UserError as error:
        raise UserError(f'{name} was refused: {error}. Only arrays of numbers and plain containers are read, because a '
                        f'pickle can run any program. {advice}') from None
    except Exception as error:             # the bytes decide what goes wrong: a damaged pickle can raise nearly anything
        raise UserError(f'{name} is damaged or no {kind} ({type(error).__name__}: {str(error)[:200]}). '
                        f'Wanted a complete file: fetch or copy it again.') from None


def _text(value):
    """Python 2's str arrives as bytes or as str, depending on `encoding`."""
    if not isinstance(value, (bytes, str)):
        raise UserError(f'a {type(value).__name__} where a text is wanted')
    return value.decode('ascii') if isinstance(value, bytes) else value


def _encode(machine, text, encoding='latin1'):
    """`_codecs.encode(text, 'latin1')`: how protocol 2 writes bytes."""
    if encoding not in ('latin1', 'latin-1') or not isinstance(text, str):
        raise UserError('bytes in another encoding than latin1')
    machine.spend(copied=len(text))
    return text.encode('latin1')


def _dtype(machine, code, align=False, copy=True):
    """`numpy.dtype('f4', False, True)`, then a state whose second item is the byte order."""
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
    """`_reconstruct(ndarray, (0,), b'b')`, whose arguments say nothing, then a state with shape, dtype and bytes."""
    def complete(state):
        _, shape, dtype, fortran_order, data = state
        return _buffer(machine, data, dtype, shape, 'F' if fortran_order else 'C')
    return Pending(complete)


def _buffer(machine, data, dtype, shape, order='C'):
    """`_frombuffer(bytes, dtype, shape, order)`: how protocol 5 writes an array. An array of its own memory.

    `data` is text where Python 2's bytes were read as latin1.
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
    """Raise UserError unless this is a tuple of a few plain integers that are not negative."""
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise UserError(f'an array whose shape is no tuple of at most {_MAX_DIMENSIONS} lengths')


def _scalar(machine, dtype, data):
    """`scalar(dtype, bytes)`: one numpy number."""
    return _buffer(machine, data, dtype, (1,))[0]


def _copy(kind):
    """`kind(items)`, which copies them."""
    def make(machine, items=()):
        if not isinstance(items, (list, tuple, set, frozenset)):
            raise UserError(f'a {kind.__name__} made of a {type(items).__name__}')
        machine.spend(len(items))
        return kind(map(check_key, items)) if kind in (set, frozenset) else kind(items)
    return make


def _dict(machine, items=()):
    """A plain dict of a dict, or of pairs as Python 2 wrote them."""
    pairs = items.items() if isinstance(items, dict) else items
    machine.spend(len(items))
    return {check_key(key): value for key, value in pairs}


def _default_dict(machine, factory=None, items=()):
    return _dict(machine, items)


def _bytes(machine, data=b'', encoding='latin1'):
    if isinstance(data, bytes):
        return data
    return _encode(machine, data, encoding)                        # bytes(10 ** 12) would reserve so much memory


def _complex(machine, real, imaginary):
    return complex(float(real), float(imaginary))


def _opaque(machine, *arguments):
    return Opaque()


_BUILTINS = {'tuple': _copy(tuple), 'list': _copy(list), 'set': _copy(set), 'frozenset': _copy(frozenset), 'dict': _dict,
             'bytes': _bytes, 'bytearray': _bytes, 'complex': _complex,
             # What a defaultdict makes: texts, never called. Protocol 2 writes the names of Python 2.
             **{name: name for name in ('int', 'long', 'float', 'bool', 'str', 'unicode')}}
_ARRAYS = {'_reconstruct': _array, '_frombuffer': _buffer, 'scalar': _scalar}

# {(module, name): what makes it of a call's arguments}. Nothing else is admitted.
NAMES = {
    ('numpy', 'ndarray'): _array,
    ('numpy', 'dtype'): _dtype,
    ('_codecs', 'encode'): _encode,
    ('collections', 'OrderedDict'): _dict,
    ('collections', 'Counter'): _dict,                             # in schedules with milestones
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
