"""Reads files of `torch.save` without PyTorch, in both formats: the zip archive (since 1.6) and the older sequence of pickles.

In both, a pickle describes the tensors as views of numbered storages. The storages' bytes are separate, in entries of the
archive or after the pickle. Source: PyTorch's torch/serialization.py and torch/_utils.py.

`pickle_machine.py` reads the pickle. It accepts only `NAMES` and refuses everything else before it runs. A storage's size is
compared with the file's before memory is reserved, and tensors are views of storages, so less than three times the file's size
is needed.
"""
import math
import os
import struct

import numpy as np
from numpy.lib.stride_tricks import as_strided

from image_classification.weights.formats import safe_pickle
from image_classification.errors import UserError
from image_classification.weights.formats.pickle_machine import Unpickler
from image_classification.weights.formats.stored_zip import StoredZip

ZIP_START = b'PK\3\4'
LEGACY_START = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'          # a pickle of PyTorch's magic number
_LEGACY_VERSION = 1001
_TAR_MARK, _TAR_PLACE = b'ustar', 257
_CHUNK = 2 ** 18

# Types of storages by their names in files. numpy has no bfloat16, so it is widened to float32, which is exact.
_STORAGES = {
    'FloatStorage': np.float32, 'DoubleStorage': np.float64, 'HalfStorage': np.float16, 'BFloat16Storage': None,
    'LongStorage': np.int64, 'IntStorage': np.int32, 'ShortStorage': np.int16, 'CharStorage': np.int8,
    'ByteStorage': np.uint8, 'BoolStorage': np.bool_, 'ComplexFloatStorage': np.complex64,
    'ComplexDoubleStorage': np.complex128, 'UntypedStorage': np.uint8,
}
_UNTYPED = {'torch.uint16': np.uint16, 'torch.uint32': np.uint32, 'torch.uint64': np.uint64}    # these have no storage type
_DTYPES = ('float16', 'float32', 'float64', 'bfloat16', 'uint8', 'int8', 'int16', 'int32', 'int64', 'bool', 'complex64',
           'complex128', 'uint16', 'uint32', 'uint64')


def is_torch(start):
    """Whether `read_torch` is for a file that begins with these 512 bytes."""
    return start.startswith((ZIP_START, LEGACY_START)) or start[_TAR_PLACE:].startswith(_TAR_MARK)


def read_torch(path):
    """The object in a file of `torch.save`, made of plain containers, numbers, texts and numpy arrays.

    bfloat16 tensors are widened to float32. Tensors that share a storage share memory here, too, and keep their strides.
    Training options (`argparse.Namespace`, yacs) become `pickle_machine.Opaque`, devices and dtypes become texts.
    Raises:
        UserError: the file cannot be read, is damaged, is no such file, or contains anything else, which the message names and
            which is not run.
    """
    try:
        file = open(path, 'rb')
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from None
    with file, safe_pickle.errors_of(path, 'file of torch.save', 'Save its state_dict() with PyTorch, if you trust the file.'):
        start = file.read(512)
        file.seek(0)
        if start.startswith(ZIP_START):
            return _read_zip(file)
        if start.startswith(LEGACY_START):
            return _read_legacy(file)
        if is_torch(start):
            raise UserError('it is a tar archive, of PyTorch 0.1 or of other files')
        raise ValueError('neither a zip archive nor the older format')


class Storage:
    """Memory for `count` numbers of a type, reserved before they are read.

    Tensors are views of `array`. `raw` are the bytes of it into which the file is read: for bfloat16, the second half.
    """

    def __init__(self, kind, count):
        self.kind, self.count = kind, count
        dtype = _STORAGES[kind]
        self.array = np.empty(count, np.float32 if dtype is None else dtype)
        self.raw = self.array.view(np.uint8)[count * 2 if dtype is None else 0:]
        self.filled = False

    def finish(self, big_endian):
        """Convert to this machine's byte order, and to a type that numpy has."""
        self.filled = True
        if self.kind == 'BFloat16Storage':
            _widen(self.array, self.raw.view('>u2' if big_endian else '<u2'))
        elif self.kind == 'BoolStorage':
            np.minimum(self.raw, 1, out=self.raw)                  # a damaged file can have values other than 0 and 1
        elif big_endian:
            self.array.byteswap(inplace=True)


def _widen(array, halves):
    """Widen bfloat16 to float32 (N,), in place. The bits of bfloat16 lie in the second half of the array. Going from the front,
    writing never overtakes reading."""
    words = array.view(np.uint32)
    for begin in range(0, len(words), _CHUNK):
        words[begin:begin + _CHUNK] = halves[begin:begin + _CHUNK].astype(np.uint32) << 16


class _Storages:
    """The storages that a pickle refers to, by key. `reserve(key, size in bytes)` raises if the file has fewer bytes."""

    def __init__(self, reserve):
        self.found, self.reserve = {}, reserve

    def load(self, reference):
        """Resolve a reference ('storage', type, key, device, count). In the older format, a sixth item is None or (key, offset,
        count) of a part."""
        if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != 'storage':
            raise UserError('it refers to something else than a storage')
        kind, key, _, count = reference[1:5]
        if not isinstance(kind, _Type) or type(key) is not str or type(count) is not int or count < 0:
            raise UserError('it refers to a storage without a type, a name or a size')
        if key not in self.found:
            width = 2 if _STORAGES[kind] is None else np.dtype(_STORAGES[kind]).itemsize
            self.reserve(key, count * width)
            self.found[key] = Storage(kind, count)
        storage = self.found[key]
        if (storage.kind, storage.count) != (kind, count):
            raise ValueError(f'the storage {key[:20]!r} has two types or sizes')
        if reference[5:] in ((), (None,)):
            return _Part(storage.array, storage)
        _, offset, size = reference[5]
        return _Part(_view(storage.array, offset, (size,), (1,)), storage)


class _Part:
    """A part of a storage. A tensor's offset and strides refer to `array`."""

    def __init__(self, array, storage):
        self.array, self.storage = array, storage


class _Type(str):
    """The name of a storage type. A class of its own, so that no text in a file can pass for one."""


def _read_zip(file):
    archive = StoredZip(file)
    folder = next((name[:-len('/data.pkl')] for name in archive.entries if name.endswith('/data.pkl')), None)
    if folder is None:
        raise ValueError('a zip archive without data.pkl')
    if f'{folder}/constants.pkl' in archive.entries:
        raise UserError('it is a TorchScript program')
    big_endian = f'{folder}/byteorder' in archive.entries and archive.read(f'{folder}/byteorder') == b'big'

    def reserve(key, size):
        entry = archive.entries.get(f'{folder}/data/{key}')
        if entry is None or entry.size != size:
            raise ValueError(f'the storage {key[:20]!r} has {entry.size if entry else "no"} bytes; {size} are wanted')

    storages = _Storages(reserve)
    content = _unpickle(file, storages, archive.open(f'{folder}/data.pkl'))
    for key, storage in storages.found.items():
        archive.read_into(f'{folder}/data/{key}', storage.raw)
        storage.finish(big_endian)
    return content


def _read_legacy(file):
    """Read the older format. It has a pickle each for the magic number, the version, facts about the machine, the object, and
    the keys of the storages. The storages follow, each with its count in 64 bits and its bytes."""
    end = file.seek(0, os.SEEK_END)
    file.seek(len(LEGACY_START))
    reserved = 0

    def reserve(key, size):
        nonlocal reserved
        reserved += size
        if reserved > end:
            raise ValueError(f'storages of {reserved} bytes in a file of {end}')

    storages = _Storages(reserve)
    version, machine, content, keys = (_unpickle(file, storages) for _ in range(4))
    if version != _LEGACY_VERSION or not isinstance(machine, dict) or not isinstance(keys, list):
        raise ValueError('its beginning is not that of the older format')
    little_endian = machine.get('little_endian', True) is not False
    for key in keys:
        storage = storages.found.get(key)
        if storage is None:
            raise ValueError(f'the storage {key[:20]!r} is of no tensor')
        count, = struct.unpack('<q' if little_endian else '>q', file.read(8))
        if count != storage.count or file.readinto(storage.raw) != storage.raw.size:
            raise ValueError(f'the storage {key[:20]!r} is incomplete')
        storage.finish(not little_endian)
    if not all(storage.filled for storage in storages.found.values()):
        raise ValueError('storages are missing')
    return content


def _unpickle(file, storages, size=None):
    return Unpickler(file, NAMES, 'latin1', storages.load, size).load()


def _view(array, offset, size, stride):
    """A tensor of this shape as a view of a storage (N,). It must not have more numbers than the storage.

    With `expand`, a storage of one number can make a tensor of a terabyte; real weights are never like that.
    """
    size, stride = tuple(size), tuple(stride)
    safe_pickle.check_shape((offset,))
    safe_pickle.check_shape(size)
    safe_pickle.check_shape(stride)
    count = math.prod(size)
    if len(size) != len(stride):
        raise ValueError('a tensor with as many strides as axes is wanted')
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if count else 0
    if count > array.size or last >= max(array.size, 1):
        raise UserError(f'a tensor of {count} numbers reaches beyond its storage of {array.size}')
    if not count:
        return np.empty(size, array.dtype)
    steps = [step * array.itemsize if n > 1 else array.itemsize for n, step in zip(size, stride)]
    view = as_strided(array[offset:], size, steps)
    return array[offset:offset + count].reshape(size) if view.flags.c_contiguous else view


def _tensor(machine, part, offset, size, stride, *ignored):
    """Stands for `_rebuild_tensor(storage, offset, size, stride)`; version 2 adds requires_grad, hooks and metadata."""
    if not isinstance(part, _Part):
        raise UserError(f'a tensor made of a {type(part).__name__}')
    return _view(part.array, offset, size, stride)


def _untyped_tensor(machine, part, offset, size, stride, requires_grad, hooks, dtype, *ignored):
    """Stands for version 3 of `_rebuild_tensor`, for types that have no storage type of their own."""
    if not isinstance(part, _Part) or part.storage.kind != 'UntypedStorage' or dtype not in _UNTYPED:
        raise UserError(f'a tensor of the type {dtype if isinstance(dtype, str) else type(dtype).__name__}')
    return _view(part.array.view(_UNTYPED[dtype]), offset, size, stride)


def _parameter(machine, tensor, *ignored):
    """Stands for `_rebuild_parameter(tensor, requires_grad, hooks)`, also with a state of Python attributes."""
    if not isinstance(tensor, np.ndarray):
        raise UserError(f'a parameter made of a {type(tensor).__name__}')
    return tensor


def _with_type(machine, function, kind, arguments, state):
    """Stands for `_rebuild_from_type_v2`, a tensor with Python attributes."""
    return machine.call(function, arguments)


def _size(machine, lengths=()):
    machine.spend(len(lengths))
    return tuple(lengths)


def _device(machine, kind, index=None):
    if not isinstance(kind, str) or not isinstance(index, (int, type(None))):
        raise UserError('a device without a name')
    return kind if index is None else f'{kind}:{index}'


# Names accepted in addition to those of every pickle: a function that makes the value from a call's arguments, or the value.
NAMES = {
    **safe_pickle.NAMES,
    ('torch._utils', '_rebuild_tensor'): _tensor,
    ('torch._utils', '_rebuild_tensor_v2'): _tensor,
    ('torch._utils', '_rebuild_tensor_v3'): _untyped_tensor,
    ('torch._utils', '_rebuild_parameter'): _parameter,
    ('torch._utils', '_rebuild_parameter_with_state'): _parameter,
    ('torch._tensor', '_rebuild_from_type_v2'): _with_type,
    ('torch', 'Tensor'): 'torch.Tensor',
    ('torch.nn.parameter', 'Parameter'): 'torch.nn.Parameter',
    ('torch', 'Size'): _size,
    ('torch', 'device'): _device,
    **{(module, kind): _Type(kind) for module in ('torch', 'torch.cuda', 'torch.storage') for kind in _STORAGES},
    **{('torch', name): f'torch.{name}' for name in _DTYPES},
}
