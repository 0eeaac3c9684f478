"""Pickles of arrays are read; nothing that a pickle asks for is run."""
import collections
import io
import os
import pickle
import struct
import tracemalloc

import numpy as np
import paddle
import pytest

from image_classification.weights.formats import safe_pickle
from image_classification.errors import UserError
from image_classification.weights.formats.pickle_machine import Opaque
from tests.torch_writer import Name, Raw, code, program


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


def test_a_state_for_an_admitted_name_is_refused():
    with pytest.raises(UserError, match='a state for a numpy.ndarray'):
        read(b'\x80\x02cnumpy\nndarray\nN}U\x05valueK\x01s\x86b.')
    np.testing.assert_array_equal(read(pickle.dumps(np.arange(3))), np.arange(3))


def test_a_header_that_promises_more_than_the_file_holds_is_an_error():
    good = python2_array(np.zeros((3, 4), np.uint8))
    with pytest.raises(UserError, match='damaged'):
        read(b'\x80\x02' + good.replace(b'J\x03\0\0\0', b'J\xff\xff\xff\x7f') + b'.', encoding='latin1')


@pytest.mark.parametrize('data', [b'', b'hello', pickle.dumps(np.zeros(50))[:100], b'\x80\x04a.'])
def test_damaged_files_are_an_error_that_names_them(data):
    with pytest.raises(UserError, match='weights.pdparams is damaged or no pickle'):
        read(data, name='weights.pdparams')


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UserError, match='absent.pdparams cannot be read: No such file'):
        safe_pickle.load(tmp_path / 'absent.pdparams')


SMALL = 50e6                                # bytes of memory that a small file may take


def peak(data, path=None):
    """Bytes of memory while a file, or with `path` one on the disk, is read or refused."""
    file = path or io.BytesIO(data)
    if path:
        path.write_bytes(data)
    tracemalloc.start()
    try:
        safe_pickle.load(file, encoding='latin1')
    except UserError:
        pass
    finally:
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return highest


LONG_LIST = b'](' + b'N' * 100_000 + b'eq\x00'                       # MARK, 100,000 times None, APPENDS, BINPUT 0
LONG_TEXT = b'X' + struct.pack('<I', 60_000) + b'x' * 60_000 + b'q\x00'


@pytest.mark.parametrize('opcodes', [
    b'B' + struct.pack('<I', 2 ** 32 - 1) + b'x', b'\x8e' + struct.pack('<Q', 10 ** 12) + b'x',
    b'\x96' + struct.pack('<Q', 10 ** 12) + b'x', b'X' + struct.pack('<I', 2 ** 32 - 1) + b'x',
    b'T' + struct.pack('<i', 2 ** 31 - 1) + b'x', b'\x8b' + struct.pack('<i', 2 ** 31 - 1) + b'x',
    b'\x95' + struct.pack('<Q', 10 ** 12) + b'N', b'Nr' + struct.pack('<I', 2 ** 32 - 1), b'T' + struct.pack('<i', -1)])
def test_a_length_reserves_no_memory(tmp_path, opcodes):
    assert peak(b'\x80\x04' + opcodes + b'.', tmp_path / 'a') < 1e6


@pytest.mark.parametrize('call', [
    Name('builtins', 'bytes')(10 ** 9), Name('builtins', 'bytearray')(10 ** 9), Name('builtins', 'tuple')(10 ** 9),
    Name('numpy', 'dtype')('(100000,100000)f4'), Name('numpy', 'dtype')('f4,f4'),
    Name('collections', 'Counter')('x' * 10 ** 6),
    Name('numpy.core.multiarray', '_frombuffer')(b'1234', Name('numpy', 'dtype')('f4'), (10 ** 12,), 'C'),
    Name('numpy.core.multiarray', '_frombuffer')(b'1234', Name('numpy', 'dtype')('f4'), (10 ** 12, 0), 'C'),
    Name('numpy.core.multiarray', '_frombuffer')(b'1234', Name('numpy', 'dtype')('f4'), (-1,), 'C')])
def test_calls_that_would_reserve_memory_are_refused(call):
    data = program(call)
    assert peak(data) < 1e6 + 3 * len(data)
    with pytest.raises(UserError):
        read(data, encoding='latin1')


@pytest.mark.parametrize('opcodes', [
    LONG_LIST + b'cbuiltins\nlist\nq\x01' + b'0h\x01h\x00\x85R' * 20_000,
    LONG_LIST + b'cbuiltins\ntuple\nq\x01' + b'0h\x01h\x00\x85R' * 20_000,
    LONG_TEXT + b'c_codecs\nencode\nq\x01' + b'0h\x01h\x00\x85R' * 20_000,
    b'(' + ('X\4\0\0\0\U0001f600' * 200_000).encode(), b'(' + b']' * 3_000_000, b'(' + b'\x8f' * 3_000_000,
    b'(' + b'((((' * 1_000_000, b'X' + struct.pack('<I', 4_000_004) + b'x' * 4_000_000 + '\U0001f600'.encode()])
def test_copying_again_and_again_is_refused(opcodes):
    data = b'\x80\x04' + opcodes + b'.'
    assert peak(data) < SMALL + 3 * len(data)
    with pytest.raises(UserError):
        read(data)


def test_lists_doubled_sixty_times_cost_what_the_file_does():
    got = read(b'\x80\x04]' + b'\x940h\x00' + b''.join(b'](h%ch%ce\x94' % (i, i) for i in range(60)) + b'.')
    assert got[0] is got[1] and len(got[0][0]) == 2


@pytest.mark.parametrize('key', [b']', b'}', b'N\x85\x85', b')' + b'\x942\x86' * 60, b'cnumpy\ndtype\n'])
def test_keys_that_would_take_forever_to_hash_are_refused(key):
    for opcodes in (b'}' + key + b'Ns', b'\x8f(' + key + b'\x90', b'(' + key + b'\x91'):
        with pytest.raises(UserError, match='as a key'):
            read(b'\x80\x04' + opcodes + b'.')


@pytest.mark.parametrize('number', [b'\x8b' + struct.pack('<i', 1000) + b'\x01' * 1000, b'I' + b'9' * 1000 + b'\n',
                                    b'F' + b'9' * 1000 + b'\n', b'L' + b'9' * 1000 + b'L\n'])
def test_numbers_that_take_long_to_read_are_refused(number):
    with pytest.raises(UserError, match='it holds a number of'):
        read(b'\x80\x04' + number + b'.')


@pytest.mark.parametrize('opcodes', [b']\x94h\x00a', b'}\x94Nh\x00s', b']' * 200 + b'a' * 199, b')' + b'\x85' * 100_000])
def test_deep_and_endless_nesting_is_refused(opcodes):
    with pytest.raises(UserError, match='nested more than 100 deep'):
        read(b'\x80\x04' + opcodes + b'.')


@pytest.mark.parametrize('opcodes, message', [
    (b'\x82\x01', 'a registered extension'), (b'Pos\n', 'objects outside itself'), (b'NQ', 'objects outside itself'),
    (b'(ios\nsystem\n', 'it asks for os.system'), (b'c\x1b[2J\nx\n', r'it asks for \\x1b\[2J.x'),
    (b'ccollections\nOrderedDict\n)}\x8c\x01aK\x01s\x92', 'it calls with keywords'),
    (b'NN\x93', 'no text'), (b'NNR', 'it calls a None')])
def test_every_way_of_naming_is_closed(opcodes, message):
    with pytest.raises(UserError, match=message):
        read(b'\x80\x04' + opcodes + b'.')


@pytest.mark.parametrize('opcodes', [b'0', b'a', b"S'" + b'x' * 2 ** 20 + b"'\n", b'1', b'h\x09', b'(\x85', b'\xff',
    b'\x80\x09N', b'R', b'b', b'}(Nu', b'}]NeN',
                                     b'cnumpy\ndtype\n(U\x02f4tR(NNtb', b'cnumpy.core.multiarray\n_reconstruct\n)R'])
def test_operations_without_their_operands_are_damage(opcodes):
    with pytest.raises(UserError, match='damaged|refused'):
        read(b'\x80\x02' + opcodes + b'.')


def test_text_protocols_of_python_2_are_read():
    value = {'a': [1, 2.5, True, None, 'x\ny'], 'b': (10 ** 12, 'ä')}
    assert read(pickle.dumps(value, 0)) == read(pickle.dumps(value, 1)) == value
    text = b"(dp0\nS'label_names'\np1\n(lp2\nS'cat'\np3\naS'\\xe4'\nas."
    assert read(text, encoding='latin1') == {'label_names': ['cat', 'ä']}


def test_options_of_training_programs_are_left_out():
    names = [Name('argparse', 'Namespace'), Name('yacs.config', 'CfgNode'), Name('pathlib', 'PosixPath')]
    data = {name.name: Raw(code(name) + b')\x81}(U\x02lrK\x01ub') for name in names}
    got = read(program({**data, 'epoch': 3}))
    assert got.pop('epoch') == 3 and set(map(type, got.values())) == {Opaque}


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_arrays_take_less_memory_than_three_times_the_file(tmp_path, protocol):
    data = pickle.dumps({'w': np.random.default_rng(0).random(10 ** 6)}, protocol)
    assert peak(data) < 2.1 * len(data)
