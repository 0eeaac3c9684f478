"""What torch.save wrote is read without PyTorch; nothing that a file asks for is run, and it gets no more memory than it has.

tests/data/torch_files has files by PyTorch 2.14, and how they were made."""
import os
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from image_classification.errors import UserError
from image_classification.weights.formats.pickle_machine import Opaque
from image_classification.weights.formats.torch_file import read_torch
from tests.torch_writer import (Name, Raw, code, legacy_file, ordered_dict, program, rebuild, storage, tensor,
                                zip_file)

FILES = Path(__file__).parents[2] / 'data' / 'torch_files'
SMALL = 50e6                                # bytes of memory that a small file may take
F4 = np.arange(12, dtype='<f4')


@pytest.fixture
def read(tmp_path):
    def read(data):
        (tmp_path / 'w.pth').write_bytes(data)
        return read_torch(tmp_path / 'w.pth')
    return read


@pytest.fixture
def refusal(read):
    """refusal(data): the one message of a file, which has been refused within its memory."""
    def refusal(data):
        tracemalloc.start()
        try:
            with pytest.raises(UserError) as caught:
                read(data)
            assert tracemalloc.get_traced_memory()[1] < SMALL + 3 * len(data)
        finally:
            tracemalloc.stop()
        assert 'w.pth' in str(caught.value) and len(str(caught.value)) < 600
        return str(caught.value)
    return refusal


def both(content, array, key='0'):
    """The same object on one storage in both formats."""
    return [zip_file(content, {key: array.tobytes()}), legacy_file(content, {key: (array.size, array.tobytes())})]


@pytest.mark.parametrize('name', ['zip.pth', 'legacy.pth'])
def test_files_of_pytorch_are_read(name):
    got = read_torch(FILES / name)
    model = got['model']
    np.testing.assert_array_equal(model['fc.weight'], [[0, 1, 2], [3, 4, 5]])
    assert list(model)[-1] == 'bn.num_batches_tracked' and model['bn.num_batches_tracked'] == 1
    assert isinstance(got['args'], Opaque) and got['optimizer']['param_groups'][0]['lr'] == 0.1
    for key in ('parameter', 'tagged'):
        np.testing.assert_array_equal(got[key], [1, 2])
    np.testing.assert_array_equal(got['transposed'], np.arange(12.0).reshape(3, 4).T)
    np.testing.assert_array_equal(got['middle'], [4, 5, 6, 7])
    np.testing.assert_array_equal(got['every_third'], [0, 3, 6, 9])
    assert np.shares_memory(got['middle'], got['transposed'])
    assert got['empty'].shape == (0, 3) and got['double'].shape == () and got['double'] == 2.5
    plain = {'size': (1, 2), 'device': 'cpu', 'dtype': 'torch.float32', 'counter': {30: 1, 60: 2}, 'default': {'a': 1},
             'epoch': 3, 'best': 0.75, 'names': ['a', 'b'], 'none': None, 'flag': True, 'set': {1, 2}}
    assert {key: got[key] for key in plain} == plain


@pytest.mark.parametrize('name', ['zip.pth', 'legacy.pth'])
@pytest.mark.parametrize('key, dtype, value', [
    ('half', np.float16, [1.5]), ('double', np.float64, 2.5), ('bool', np.bool_, [True, False]), ('uint8', np.uint8, [255]),
    ('int64', np.int64, -7), ('uint16', np.uint16, [65535]), ('bfloat16', np.float32, [1, -2.5, 3.0040553e38, 9.1835496e-41])])
def test_types_are_kept_and_bfloat16_widened_exactly(name, key, dtype, value):
    got = read_torch(FILES / name)[key]
    assert got.dtype == dtype and got.flags.writeable
    np.testing.assert_array_equal(got, np.array(value, dtype))


@pytest.mark.parametrize('big_endian', [False, True])
def test_the_byte_order_is_that_of_the_file(read, big_endian):
    data = F4.astype('>f4' if big_endian else '<f4').tobytes()
    content = {'a': tensor('0', (3, 4))}
    for file in (zip_file(content, {'0': data}, b'big' if big_endian else b'little'),
                 legacy_file(content, {'0': (12, data)}, not big_endian)):
        np.testing.assert_array_equal(read(file)['a'], F4.reshape(3, 4))


def test_long_bfloat16_storages_are_widened_part_by_part(read):
    values = np.arange(600_000, dtype=np.float32) // 64 * 64       # 8 significant bits suffice for none of them: round
    bits = (values.view(np.uint32) >> 16).astype('<u2')
    got = read(zip_file({'a': tensor('0', (600_000,), kind='BFloat16Storage')}, {'0': bits.tobytes()}))['a']
    np.testing.assert_array_equal(got, (bits.astype(np.uint32) << 16).view(np.float32))


def test_parts_of_storages_as_old_files_have_them(read):
    part = tensor('0', (4,), None, 1, 12, 'FloatStorage', ('view', 2, 6))
    np.testing.assert_array_equal(read(both({'a': part}, F4)[1])['a'], F4[3:7])


def test_a_tensor_of_python_attributes_and_an_old_one(read):
    old = Name('torch._utils', '_rebuild_tensor')(storage('0', 12), 2, (2, 2), (1, 4))
    typed = Name('torch._tensor', '_rebuild_from_type_v2')(
        rebuild, Name('torch', 'Tensor'), (storage('0', 12), 0, (12,), (1,), False, ordered_dict()), {'note': 1})
    got = read(both([old, typed], F4)[0])
    np.testing.assert_array_equal(got[0], [[2, 6], [3, 7]])
    np.testing.assert_array_equal(got[1], F4)


@pytest.mark.parametrize('number', [0, 1])
def test_memory_is_that_of_the_tensors(read, number):
    file = both({'a': tensor('0', (2000, 1000))}, np.zeros(2_000_000, 'f4'))[number]
    read(file)
    tracemalloc.start()
    got = read(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got['a'].shape == (2000, 1000) and peak < 1.3 * len(file) + 1e6


@pytest.mark.parametrize('wrong, message', [
    (dict(shape=(10 ** 6, 10 ** 6), count=1), 'a tensor of 1000000000000 numbers reaches beyond its storage of 1'),
    (dict(shape=(10 ** 6, 10 ** 6), stride=(0, 0), count=1), 'reaches beyond its storage of 1'),
    (dict(shape=(10 ** 12,), count=10 ** 12), 'storage'),
    (dict(shape=(1,), offset=1, count=1), 'reaches beyond'),
    (dict(shape=(2,), stride=(10 ** 30,), count=1), 'reaches beyond'),
    (dict(shape=(-1,), count=1), 'lengths'), (dict(shape=(1,), stride=(-1,), count=1), 'lengths'),
    (dict(shape=(1,), offset=-1, count=1), 'lengths'), (dict(shape=(1.0,), count=1, stride=(1,)), 'lengths'),
    (dict(shape=(1,) * 40, count=1), 'lengths'), (dict(shape=(1, 1), stride=(1,), count=1), 'strides'),
    (dict(shape=(1,), kind='QInt8Storage'), 'it asks for torch.QInt8Storage'),
    (dict(shape=(1,), count=-1), 'without a type, a name or a size'), (dict(shape=(1,), count=2), 'the storage')])
@pytest.mark.parametrize('number', [0, 1])
def test_sizes_that_the_file_does_not_have_are_refused(refusal, number, wrong, message):
    assert message in refusal(both({'a': tensor('0', **wrong)}, F4[:1])[number])


@pytest.mark.parametrize('size, stride, offset', [
    ((2,), (10 ** 30,), 0), ((2,), (12,), 0), ((4, 3), (3, 1), 1), ((1,), (1,), 2 ** 70)])
def test_strides_and_offsets_stay_within_the_storage(refusal, size, stride, offset):
    assert 'reaches beyond its storage of 12' in refusal(both({'a': tensor('0', size, stride, offset, 12)}, F4)[0])


@pytest.mark.parametrize('reference', [
    '0', 7, None, [], (), (1,) * 5, ('module', 1), ('storage', 'torch.FloatStorage', '0', 'cpu', 1),
    ('storage', Name('torch', 'FloatStorage'), ['0'], 'cpu', 1)])
def test_references_to_anything_but_a_storage_are_refused(refusal, reference):
    assert 'it refers to' in refusal(zip_file({'a': Raw(code(reference) + b'Q')}, {'0': b'1234'}))


@pytest.mark.parametrize('module, name', [
    ('os', 'system'), ('posix', 'system'), ('builtins', 'eval'), ('builtins', 'getattr'), ('__builtin__', 'exec'),
    ('torch._utils', 'os.system'), ('torch', 'load'), ('torch.storage', '_load_from_bytes'), ('torch._utils', '__dict__'),
    ('numpy', 'load'), ('subprocess', 'Popen'), ('torch.hub', 'load'), ('', ''), ('\x1b[2J', 'x')])
def test_every_other_name_is_refused_and_named(refusal, module, name):
    shown = f'{module}.{name}'.encode('unicode_escape').decode()
    for call in (Name(module, name)('echo'), Raw(b'\x80\x04' + code(module) + code(name) + b'\x93)R'),
                 Raw(b'(i' + f'{module}\n{name}\n'.encode()), Raw(b'(' + code(Name(module, name)) + b'o')):
        for file in both({'model': {'w': tensor('0', (12,))}, 'x': call}, F4):
            assert f'refused: it asks for {shown}.' in refusal(file)


def test_a_command_does_not_run(refusal, tmp_path):
    inner = Name('os', 'system')(f'touch {tmp_path}/ran')
    for content in (inner, [rebuild(inner)], rebuild(storage('0', 12), rebuild(inner, 1)), {inner: 1},
                    Raw(code(Name('torch', 'Size')) + code((inner,)) + b'R')):
        refusal(both(content, F4)[0])
    assert not (tmp_path / 'ran').exists()


def test_a_pickled_network_a_program_and_a_tar_are_named(refusal):
    assert 'it asks for torch.nn.modules.linear.Linear' in refusal((FILES / 'whole_model.pth').read_bytes())
    assert 'it is a TorchScript program' in refusal((FILES / 'script.pt').read_bytes())
    assert 'it is a tar archive' in refusal(bytes(257) + b'ustar\0' + bytes(1000))


@pytest.mark.parametrize('reduce', [
    Raw(code(rebuild) + b'}U\x04makeK\x01sb'), Raw(code(tensor('0', (12,))) + b'}U\x05shapeK\x01sb'),
    Raw(code(tensor('0', (12,))) + b')R'), Raw(code(storage('0', 12)) + b'}U\x05arrayK\x01sb'),
    Raw(code(storage('0', 12)) + b')R')])
def test_states_and_calls_of_what_is_admitted_change_nothing(read, refusal, reduce):
    refusal(both({'a': reduce}, F4)[0])
    np.testing.assert_array_equal(read(both({'a': tensor('0', (12,))}, F4)[0])['a'], F4)


@pytest.mark.parametrize('name', ['zip.pth', 'legacy.pth'])
def test_a_file_cut_anywhere_is_an_error(refusal, name):
    whole = (FILES / name).read_bytes()
    for end in [*range(0, len(whole), 61), len(whole) - 1]:
        assert 'damaged' in refusal(whole[:end])


@pytest.mark.parametrize('name', ['zip.pth', 'legacy.pth'])
def test_a_flipped_bit_is_an_error_or_changes_nothing_but_numbers(read, name):
    whole, rng = (FILES / name).read_bytes(), random.Random(0)
    expected = {key: value for key, value in read(whole).items() if key != 'args'}
    errors = 0
    for _ in range(200):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            got = read(data)
        except UserError:
            errors += 1
        else:
            if name == 'zip.pth':                                  # has checksums; the older format has none
                np.testing.assert_equal({key: got[key] for key in expected}, expected)
    assert errors > 75


def test_a_flipped_bit_of_a_tensor_is_found_in_an_archive(refusal):
    file = both({'a': tensor('0', (12,))}, F4)[0]
    assert 'checksum' in refusal(file.replace(F4.tobytes(), b'\x01' + F4.tobytes()[1:]))


def test_compressed_entries_are_refused(refusal):
    zeros = {'0': bytes(40_000_000)}
    assert 'is compressed' in refusal(zip_file({'a': tensor('0', (10 ** 7,))}, zeros, compression=zipfile.ZIP_DEFLATED))
    assert 'is compressed' in refusal(zip_file(program(['x' * 10 ** 7]), {}, compression=zipfile.ZIP_BZIP2))


def directory(names_at, size=None, entry=4):
    """An archive of two entries `a` of 4 bytes, and a directory of [(name, where the entry is)] that may be wrong."""
    data, central = b'1234', b''
    local = b'PK\3\4' + bytes(14) + struct.pack('<IIHH', 4, 4, 1, 0) + b'a' + data
    for name, place in names_at:
        central += b'PK\1\2' + bytes(16) + struct.pack('<IIHHH8xI', entry, entry, len(name), 0, 0, place) + name
    size = len(central) if size is None else size
    return local * 2 + central + b'PK\5\6' + bytes(8) + struct.pack('<IIH', size, 2 * len(local), 0)


@pytest.mark.parametrize('file, message', [
    (directory([(b'a', 0), (b'a', 35)]), "two entries 'a'"), (directory([(b'a', 0), (b'b', 10)]), 'overlaps'),
    (directory([(b'a', 0), (b'b', 0)]), 'overlaps'), (directory([(b'c', 0)]), 'not where it should be'),
    (directory([(b'a', 10 ** 9)]), 'wanted of'), (directory([(b'a', 0)], 10 ** 9), 'directory has 1000000000 bytes'),
    (directory([(b'a', 0)], 3000), 'wanted of'), (directory([(b'a', 0)], entry=40), 'into the directory'),
    (directory([(b'a', 0)]), 'without data.pkl')])
def test_archives_that_contradict_themselves_are_refused(refusal, file, message):
    assert message in refusal(file)


def test_a_storage_that_the_older_format_does_not_bring_is_an_error(refusal):
    two = [tensor('0', (12,)), tensor('1', (12,))]
    assert 'storages are missing' in refusal(legacy_file(two, {'0': (12, F4.tobytes() * 3)}))
    assert 'incomplete' in refusal(legacy_file(two, {'0': (12, F4.tobytes()), '1': (12, F4.tobytes()[:9])}))
    assert 'incomplete' in refusal(legacy_file(two, {'0': (12, F4.tobytes()), '1': (10 ** 15, F4.tobytes())}))


def test_a_storage_has_one_type_and_one_size(refusal):
    for other in (tensor('0', (12,), kind='IntStorage'), tensor('0', (6,))):
        for file in both([tensor('0', (12,)), other], F4):
            assert 'two types or sizes' in refusal(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match='absent.pth cannot be read: No such file'):
        read_torch(tmp_path / 'absent.pth')
    assert not os.listdir(tmp_path)
