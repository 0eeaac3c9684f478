"""Reads zip archives with uncompressed entries, as `torch.save` writes them. They are checked before memory is reserved.

The standard library's reader takes archives of any kind and trusts what they declare. This one verifies that an entry has the
declared size and checksum, lies within the file, and does not overlap other entries. Layout: PKWARE's APPNOTE.TXT, 4.3.
"""
import os
import struct
import zlib
from collections import namedtuple

from image_classification.errors import UserError

_CHUNK = 2 ** 20
_DIRECTORY = 2 ** 21                       # most bytes of an archive's directory; in large archives, a twentieth of the file
_LOCAL, _CENTRAL, _END, _LOCATOR, _END64 = b'PK\3\4', b'PK\1\2', b'PK\5\6', b'PK\6\7', b'PK\6\6'
_NONE32 = 2 ** 32 - 1                      # the real value is in an extra field, in 64 bits

# start: offset of the data in the file; problem: why the entry cannot be read, or ''
Entry = namedtuple('Entry', 'start size checksum problem')


class StoredZip:
    """The entries of an archive, {name: Entry}, and their bytes.

    Args:
        file: a seekable binary file, opened for reading.
    Raises:
        UserError: two entries have the same name or overlap. Reading an entry raises it if that is compressed or encrypted.
        ValueError, struct.error: the archive is damaged.
    """

    def __init__(self, file):
        self.file = file
        self.length = file.seek(0, os.SEEK_END)
        self.entries = {}
        directory, start = self._directory()
        headers = []
        while directory:
            name, position, entry, directory = _central_header(directory)
            if name in self.entries:
                raise UserError(f'it has two entries {name[:60]!r}')
            self.entries[name] = entry
            headers.append((position, name))
        end = 0
        for position, name in sorted(headers):
            if position < end:
                raise UserError(f'its entry {name[:60]!r} overlaps another')
            entry = self.entries[name] = self._located(name, position)
            end = entry.start + entry.size
        if end > start:
            raise ValueError(f'entries reach {end - start} bytes into the directory')

    def _at(self, position, size):
        if not 0 <= position <= position + size <= self.length:
            raise ValueError(f'bytes {position} to {position + size} are wanted of {self.length}')
        self.file.seek(position)
        data = self.file.read(size)
        if len(data) != size:
            raise ValueError('the file ends early')
        return data

    def _directory(self):
        """(the directory's bytes, their offset in the file). The end of the file gives the directory's size and offset."""
        tail = self._at(self.length - 22, 22)
        if tail[:4] != _END or tail[20:] != b'\0\0':
            raise ValueError('the end of the archive is missing')
        size, start = struct.unpack('<II', tail[12:20])
        if self.length >= 42 and (locator := self._at(self.length - 42, 20))[:4] == _LOCATOR:
            end = self._at(struct.unpack('<Q', locator[8:16])[0], 56)
            if end[:4] != _END64:
                raise ValueError('the end of the archive is missing')
            size, start = struct.unpack('<QQ', end[40:56])
        if size > max(_DIRECTORY, self.length // 20):
            raise UserError(f'its directory has {size} bytes')
        return memoryview(self._at(start, size)), start

    def _located(self, name, position):
        """The entry with the offset of its data, which follows the local header. The header's name and extra fields may have
        any length."""
        header = self._at(position, 30)
        name_size, extra_size = struct.unpack('<HH', header[26:])
        if header[:4] != _LOCAL or self._at(position + 30, name_size) != name.encode('utf-8', 'surrogateescape'):
            raise ValueError(f'the entry {name[:60]!r} is not where it should be')
        return self.entries[name]._replace(start=position + 30 + name_size + extra_size)

    def read_into(self, name, buffer):
        """Fill `buffer`, which has the entry's size. Raises ValueError if the checksum differs."""
        view = memoryview(buffer)
        self._verify(name, lambda begin, end: view[begin:end])

    def open(self, name):
        """Check an entry and seek to the start of its data. Returns the size of the data."""
        chunk = memoryview(bytearray(_CHUNK))
        self._verify(name, lambda begin, end: chunk[:end - begin])
        self.file.seek(self.entries[name].start)
        return self.entries[name].size

    def _verify(self, name, place):
        """Read an entry in pieces and check its checksum. `place(begin, end)` gives the memory for a piece."""
        entry = self.entries[name]
        if entry.problem:
            raise UserError(f'its entry {name[:60]!r} is {entry.problem}, which torch.save never does')
        self.file.seek(entry.start)
        checksum = 0
        for begin in range(0, entry.size, _CHUNK):
            part = place(begin, min(begin + _CHUNK, entry.size))
            if self.file.readinto(part) != len(part):
                raise ValueError('the file ends early')
            checksum = zlib.crc32(part, checksum)
        if checksum != entry.checksum:
            raise ValueError(f'the checksum of the entry {name[:60]!r} is wrong')

    def read(self, name, limit=1000):
        """The bytes of a small entry."""
        size = self.open(name)
        if size > limit:
            raise ValueError(f'the entry {name[:60]!r} has {size} bytes')
        return self.file.read(size)


def _central_header(directory):
    """(name, offset of the local header, entry, rest of the directory)."""
    if bytes(directory[:4]) != _CENTRAL:
        raise ValueError('a damaged directory')
    flags, method = struct.unpack('<HH', directory[8:12])
    checksum, packed, size, name_size, extra_size, comment_size = struct.unpack('<IIIHHH', directory[16:34])
    position, = struct.unpack('<I', directory[42:46])
    end = 46 + name_size + extra_size + comment_size
    if end > len(directory):
        raise ValueError('a damaged directory')
    name = str(directory[46:46 + name_size], 'utf-8', 'surrogateescape')
    extra = directory[46 + name_size:46 + name_size + extra_size]
    size, packed, position = _wide([size, packed, position], extra)
    problem = 'encrypted' if flags & 1 else 'compressed' if method or size != packed else ''
    return name, position, Entry(0, packed, checksum, problem), directory[end:]


def _wide(values, extra):
    """Replace values that do not fit into 32 bits by the 64-bit values in extra field 1, which has them in this order."""
    while len(extra) >= 4:
        kind, size = struct.unpack('<HH', extra[:4])
        field, extra = extra[4:4 + size], extra[4 + size:]
        if kind == 1:
            wide = list(struct.unpack(f'<{len(field) // 8}Q', field[:len(field) // 8 * 8]))
            values = [wide.pop(0) if value == _NONE32 and wide else value for value in values]
    return values
