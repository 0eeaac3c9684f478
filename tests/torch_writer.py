"""Writes what `torch.save` writes, and what an attacker would, without PyTorch: opcodes from Python values."""
import io
import math
import pickle
import struct
import zipfile

from image_classification.weights.formats.torch_file import LEGACY_START


class Raw(bytes):
    """Opcodes as they are."""


class Name:
    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self, *arguments):
        return Raw(code(self) + code(arguments) + b'R')


ordered_dict = Name('collections', 'OrderedDict')
rebuild = Name('torch._utils', '_rebuild_tensor_v2')


def code(value):
    """Opcodes that make a value: those of protocol 2."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Name):
        return f'c{value.module}\n{value.name}\n'.encode()
    if isinstance(value, tuple):
        return b'(' + b''.join(map(code, value)) + b't'
    if isinstance(value, list):
        return b'](' + b''.join(map(code, value)) + b'e'
    if isinstance(value, dict):
        return b'}(' + b''.join(code(key) + code(item) for key, item in value.items()) + b'u'
    return pickle.dumps(value, 2)[2:-1]


def program(value):
    return b'\x80\x02' + code(value) + b'.'


def storage(key, count, kind='FloatStorage', *more):
    return Raw(code(('storage', Name('torch', kind), key, 'cpu', count, *more)) + b'Q')


def tensor(key, shape, stride=None, offset=0, count=None, kind='FloatStorage', *more):
    """A tensor on the storage `key`, by default a contiguous one that is all of it."""
    if stride is None:
        stride = tuple(math.prod(shape[i + 1:]) for i in range(len(shape)))
    part = storage(key, math.prod(shape) if count is None else count, kind, *more)
    return rebuild(part, offset, tuple(shape), tuple(stride), False, ordered_dict())


def zip_file(content, storages, byteorder=b'little', compression=zipfile.ZIP_STORED):
    """The format since 1.6; `storages`: {key: bytes}. `content`: a value for `code`, or the pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', compression) as archive:
        archive.writestr('archive/data.pkl', content if isinstance(content, bytes) else program(content))
        archive.writestr('archive/byteorder', byteorder)
        for key, data in storages.items():
            archive.writestr(f'archive/data/{key}', bytes(data))
        archive.writestr('archive/version', b'3\n')
    return buffer.getvalue()


def legacy_file(content, storages, little_endian=True):
    """The older format; `storages`: {key: (count, bytes)}."""
    facts = {'protocol_version': 1001, 'little_endian': little_endian, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
    row = [LEGACY_START, program(1001), program(facts), content if isinstance(content, bytes) else program(content),
           program(list(storages))]
    order = '<q' if little_endian else '>q'
    return b''.join([*row, *(struct.pack(order, count) + bytes(data) for count, data in storages.values())])
