"""Pickles of arrays are read; nothing that a pickle asks for is run."""
import collections
import io
import os
import pickle
import struct

import numpy as np
import paddle
import pytest

from image_classification import safe_pickle
from image_classification.errors import UserError


def read(data, **options):
    return safe_pickle.load(io.BytesIO(data), **options)


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def python2_array(array):
    """The opcodes by which Python 2 wrote a numpy array of bytes: text, not bytes, and the module names of old numpy."""
    def text(data):
        return b'T' + struct.pack('<i', len(data)) + data
    shape = b'(' + b''.join(b'J' + struct.pack('<i', n) for n in array.shape) + b't'
    dtype = (b'cnumpy\ndtype\n(' + text(b'u1') + b'K\x00K\x01tR(K\x03' + text(b'|')
             + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb')
    return (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t' + text(b'b') + b'tR(K\x01' + shape + dtype
            + b'\x89' + text(array.tobytes()) + b'tb')


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('dtype', ['u1', '<f4', '>f4', 'i8', 'bool', 'c8', 'f2', 'U3'])
def test_arrays_of_every_protocol_and_type_are_read(protocol, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    got = read(pickle.dumps({'a': array, 'b': [array.T, (array[:0], 1.5, 'x', None)]}, protocol))
    np.testing.assert_array_equal(got['a'], array)
    np.testing.assert_array_equal(got['b'][0], array.T)
    assert got['b'][1][0].shape == (0, 3) and got['b'][1][1:] == (1.5, 'x', None)
    assert type(got['a']) is np.ndarray and got['a'].dtype == array.dtype and got['a'].flags.writeable


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_plain_containers_and_numpy_numbers_are_read(protocol):
    value = {'set': {1, 2}, 'ordered': collections.OrderedDict(a=1, b=2), 'bytes': b'\xff\x00', 'complex': 1j,
             'scalar': np.float32(2.5), 'dtype': np.dtype('int16'), 'shared': [[1]] * 2}
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize('encoding, key', [('latin1', 'data'), ('bytes', b'data')])
def test_arrays_of_python_2_are_read(encoding, key):
    array = np.arange(250, 262).astype(np.uint8).reshape(3, 4)
    got = read(b'\x80\x02}U\x04data' + python2_array(array) + b's.', encoding=encoding)
    np.testing.assert_array_equal(got[key], array)


@pytest.mark.parametrize('protocol', [2, 4])
def test_what_paddle_save_writes_is_read(tmp_path, protocol):
    layer = paddle.nn.Linear(3, 2)
    paddle.save(layer.state_dict(), str(tmp_path / 'a.pdparams'), protocol=protocol)
    got = safe_pickle.load(tmp_path / 'a.pdparams')
    np.testing.assert_array_equal(got['weight'], layer.weight.numpy())


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_a_command_in_a_pickle_is_refused_by_name_and_not_run(tmp_path, protocol):
    file = tmp_path / 'evil.pdparams'
    file.write_bytes(pickle.dumps({'w': Calls(os.system, f'touch {tmp_path}/ran')}, protocol))
    with pytest.raises(UserError, match=r'evil\.pdparams was refused: it asks for (posix|nt)\.system'):
        safe_pickle.load(file)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('call', [(eval, '1'), (getattr, 1, 'real'), (np.load, 'x'), (np.fromfile, 'x'), (bytes.fromhex, '00')])
def test_any_other_function_is_refused(call):
    with pytest.raises(UserError, match='refused: it asks for'):
        read(pickle.dumps(Calls(*call)))


@pytest.mark.parametrize('name', [b'numpy\nndarray.tofile', b'numpy\n__dict__', b'os\nsystem', b'builtins\ntype'])
def test_names_behind_dots_are_refused(name):
    with pytest.raises(UserError, match='refused'):
        read(b'\x80\x04c' + name + b'\n.')


def test_arrays_of_objects_are_refused():
    with pytest.raises(UserError, match='an array of object'):
        read(pickle.dumps(np.array([1, 'x'], object)))


def test_a_state_for_an_admitted_class_changes_nothing():
    before = dict(vars(safe_pickle._Array))
    with pytest.raises(UserError):
        read(b'\x80\x02cnumpy\nndarray\nN}U\x05valueK\x01s\x86b.')
    assert dict(vars(safe_pickle._Array)) == before


def test_a_header_that_promises_more_than_the_file_holds_is_an_error():
    good = python2_array(np.zeros((3, 4), np.uint8))
    with pytest.raises(UserError, match='damaged'):
        read(b'\x80\x02' + good.replace(b'J\x03\0\0\0', b'J\xff\xff\xff\x7f') + b'.', encoding='latin1')


@pytest.mark.parametrize('data', [b'', b'hello', pickle.dumps(np.zeros(50))[:100], b'\x80\x04]\x94h\x00a.'])
def test_damaged_files_are_an_error_that_names_them(data):
    with pytest.raises(UserError, match='weights.pdparams is damaged or no pickle'):
        read(data, name='weights.pdparams')


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UserError, match='absent.pdparams cannot be read: No such file'):
        safe_pickle.load(tmp_path / 'absent.pdparams')
