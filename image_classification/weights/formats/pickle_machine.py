"""Runs pickles safely. A pickle is a program for a stack machine; this machine never imports, calls or changes what a file
names.

A name is looked up in a table, and the table's function makes the value. `safe_pickle.py` and `torch_file.py` have such tables.

Memory and time are bounded, too. Python's unpickler reserves memory for whatever length a file declares, and a few bytes can
copy a long list, or hash a deep tuple, again and again. Here a length must not exceed the rest of the file, copies and
operations are counted, and keys are short. Memory stays below three times the file's size, or 50 MB for a small file.
"""
import codecs
import pickle
import re
import struct

from image_classification.errors import UserError

_OPERATIONS = 200_000                      # for any file; one takes at most 250 bytes, and a tensor's description takes 50
_BYTES_PER_OPERATION = 512                 # one more operation for each so many bytes of the file
_MAX_DEPTH = 100                           # of nested containers
_MAX_KEY = 16                              # items of a tuple that is used as a key
_MAX_NUMBER = 64                           # bytes
_LONG_TEXT = 2 ** 16                       # bytes
_CHUNK = 2 ** 20
_MAX_LINE = 2 ** 20                        # bytes; only protocol 0 has lines, which nobody uses for arrays
_BEYOND_LATIN1 = re.compile(rb'[\xc4-\xff]')                        # in UTF-8


class Name:
    """A function that a file names. If the file calls it, `make(unpickler, *arguments)` runs instead."""
    __slots__ = 'text', 'make'

    def __init__(self, text, make):
        self.text, self.make = text, make


class Opaque:
    """Stands for an object that is not needed, such as a training program's options. Its content is dropped."""
    __slots__ = ()


class Pending:
    """The result of a call that still needs a state: `complete(state)` gives the value.

    `value` is the value without a state, or None if there is none. `key` is its key in the unpickler's memo.
    """
    __slots__ = 'complete', 'value', 'key'

    def __init__(self, complete, value=None):
        self.complete, self.value, self.key = complete, value, None


class Unpickler:
    """Reads one pickle from a binary file, from its present position.

    Args:
        file: a seekable file, opened for reading.
        names: {(module, name): a `Name`'s `make`, or a value}. Other names are refused.
        encoding: encoding of text from Python 2: 'ASCII', 'latin1', or 'bytes' to leave it as bytes.
        persistent: function from a persistent id to its object; without it, persistent ids are refused.
        size: the pickle's maximum size in bytes; by default the rest of the file.
    """

    def __init__(self, file, names, encoding='ASCII', persistent=None, size=None):
        here = file.tell()
        rest = file.seek(0, 2) - here
        file.seek(here)
        self.file, self.names, self.encoding, self.persistent = file, names, encoding, persistent
        self.left = rest if size is None else min(size, rest)
        self.operations = _OPERATIONS + rest // _BYTES_PER_OPERATION
        self.copies = 2 ** 16 + self.left * 3 // 2                  # bytes; Python 2's arrays are copied in full, others once
        self.stack, self.marks, self.memo = [], [], {}

    def load(self):
        """The object. Raises UserError for anything that is not accepted, and nearly any other exception for a damaged file."""
        while (code := self.read(1)) != b'.':
            self.spend()
            if code not in _CODES:
                raise ValueError(f'no operation {code!r}')
            _CODES[code](self)
        value = self.pop()
        _check_depth(value, 0, {})
        return value

    def spend(self, operations=1, copied=0):
        """Count operations and copied bytes. Raises UserError if the file exceeds its limits."""
        self.operations -= operations
        self.copies -= copied
        if self.operations < 0 or self.copies < 0:
            raise UserError('it unfolds into far more than its own size')

    def read(self, count):
        if not 0 <= count <= self.left:                             # checked before memory is reserved
            raise EOFError(f'{count} bytes are wanted where {self.left} are left')
        data = self.file.read(count)
        self.left -= count
        if len(data) != count:
            raise EOFError('the file ends early')
        return data

    def line(self):
        data = self.file.readline(min(self.left, _MAX_LINE))
        self.left -= len(data)
        if not data.endswith(b'\n'):
            raise ValueError(f'a line without an end, or of more than {_MAX_LINE} bytes')
        return data[:-1]

    def number(self, layout):
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError('the stack is empty')
        return self._finished(self.stack.pop())

    def pop_to_mark(self):
        start = self.marks.pop()
        items = [self._finished(value) for value in self.stack[start:]]
        del self.stack[start:]
        return items

    def _finished(self, value):
        if not isinstance(value, Pending):
            return value
        if value.value is None:
            raise ValueError('an array without its data')
        return value.value

    def top(self, *kinds):
        if not self.stack or not isinstance(self.stack[-1], kinds):
            raise ValueError(f'no {kinds[0].__name__} to add to')
        return self.stack[-1]

    # One method for each kind of operation.
    def text(self, size):
        """UTF-8. A single rare letter makes Python store four bytes for every letter of a text, so such texts are counted."""
        if size > _LONG_TEXT:
            return self.long_text(size)
        data = self.read(size)
        if _BEYOND_LATIN1.search(data):
            self.spend(copied=4 * len(data))
        self.push(str(data, 'utf-8', 'surrogatepass'))

    def long_text(self, size):
        """Long text, which protocol 2 uses for bytes. It is decoded in pieces, because Python's decoder reserves three times
        the memory."""
        if size > self.left:
            raise EOFError(f'a text of {size} bytes is wanted where {self.left} are left')
        decoder, found = codecs.getincrementaldecoder('utf-8')(), bytearray()
        for begin in range(0, size, _CHUNK):
            part = decoder.decode(self.read(min(_CHUNK, size - begin)), final=begin + _CHUNK >= size)
            try:
                found += part.encode('latin1')
            except UnicodeEncodeError:
                raise UserError('it holds a long text that is not latin1') from None
        self.push(str(found, 'latin1'))

    def old_string(self, data):
        self.push(data if self.encoding == 'bytes' else str(data, self.encoding))

    def quoted(self):
        line = self.line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b'"', b"'"):
            raise ValueError('a text without quotes')
        self.old_string(codecs.escape_decode(line[1:-1])[0])

    def unicode_line(self):
        line = self.line()
        self.spend(copied=4 * len(line))
        self.push(str(line, 'raw-unicode-escape'))

    def integer_line(self):
        line = self.line()
        self.push({b'00': False, b'01': True}[line] if line in (b'00', b'01') else self.short(line.rstrip(b'L'), int))

    def short(self, data, convert):
        """Convert a number, which must be short: long integers take long to hash, to print and to read."""
        if len(data) > _MAX_NUMBER:
            raise UserError(f'it holds a number of {len(data)} bytes')
        return convert(data)

    def put(self, key):
        value = self.stack[-1]
        if isinstance(value, Pending):
            value.key = key
        self.memo[key] = value

    def get(self, key):
        self.push(self._finished(self.memo[key]))

    def append(self, items):
        target = self.top(list, Opaque)
        if isinstance(target, list):
            target.extend(items)

    def add(self, items):
        target = self.top(set, Opaque)
        if isinstance(target, set):
            target.update(map(check_key, items))

    def set_items(self, items):
        target = self.top(dict, Opaque)
        if len(items) % 2:
            raise ValueError('a key without a value')
        if isinstance(target, dict):
            target.update(zip(map(check_key, items[::2]), items[1::2]))

    def set_item(self):
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def append_one(self):
        item = self.pop()
        self.append([item])

    def name(self, module, name):
        """Look up a name. A name with dots is compared as a whole, so it cannot reach attributes."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise UserError('it asks for a name that is no text')
        if (module, name) not in self.names:
            printable = f'{module}.{name}'[:100].encode('unicode_escape').decode()
            raise UserError(f'it asks for {printable}')
        found = self.names[module, name]
        return Name(f'{module}.{name}', found) if callable(found) else found

    def global_line(self):
        module, name = self.line().decode('utf-8'), self.line().decode('utf-8')
        return self.name(module, name)

    def global_stack(self):
        name, module = self.pop(), self.pop()
        self.push(self.name(module, name))

    def call(self, name, arguments):
        """Call the table's function with the arguments. The file itself has no functions."""
        if not isinstance(name, Name) or not isinstance(arguments, (tuple, list)):
            raise UserError(f'it calls a {type(name).__name__}')
        return name.make(self, *arguments)

    def reduce(self):
        arguments, name = self.pop(), self.pop()
        self.push(self.call(name, arguments))

    def new_with_keywords(self):
        if self.pop():
            raise UserError('it calls with keywords')
        self.reduce()

    def old_class(self):
        name, *arguments = self.pop_to_mark()
        self.push(self.call(name, arguments))

    def old_class_line(self):
        name = self.global_line()
        self.push(self.call(name, self.pop_to_mark()))

    def build(self):
        """Apply the state of an array or a dtype. Other states, attributes of dicts and of opaque objects, are dropped."""
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Pending):
            self.stack[-1] = target.complete(state)
            if target.key is not None:
                self.memo[target.key] = self.stack[-1]
        elif not isinstance(target, (dict, Opaque)):
            raise UserError(f'a state for a {getattr(target, "text", type(target).__name__)}')

    def persistent_id(self):
        if self.persistent is None:
            raise UserError('it refers to objects outside itself')
        self.push(self.persistent(self.pop()))

    def drop(self):
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def version(self):
        if self.number('<B') > 5:
            raise ValueError('a newer protocol than 5')


def _constant(value):
    return lambda machine: machine.push(value)


def _empty(kind):
    return lambda machine: machine.push(kind())


def _number(layout):
    return lambda machine: machine.push(machine.number(layout))


def _counted(layout, use):
    """A length, followed by that many bytes."""
    return lambda machine: use(machine, machine.read(machine.number(layout)))


def _text(layout):
    return lambda machine: machine.text(machine.number(layout))


def _tuple(count):
    return lambda machine: machine.push(tuple([machine.pop() for _ in range(count)][::-1]))


def _bytes(machine, data):
    machine.push(data)


def _long(machine, data):
    machine.push(machine.short(data, pickle.decode_long))


def _refuse_extension(machine):
    raise UserError('it asks for a registered extension')


def check_key(value):
    """Return a value that is allowed as a key of a dict or an item of a set. A deep tuple that shares its parts would take for
    ever to hash."""
    items = value if isinstance(value, tuple) and len(value) <= _MAX_KEY else (value,)
    if not all(isinstance(item, (str, bytes, int, float, complex, type(None))) for item in items):
        raise UserError(f'a {type(value).__name__} as a key')
    return value


def _check_depth(value, depth, heights):
    """The height of a container, 0 for anything else. `heights` has the heights of containers seen before, by identity.

    Raises UserError if the nesting is too deep for a recursive function, or endless.
    """
    if depth > _MAX_DEPTH:
        raise UserError(f'containers nested more than {_MAX_DEPTH} deep, or in themselves')
    if not isinstance(value, (dict, list, tuple)):
        return 0
    if id(value) not in heights:
        items = dict.values(value) if isinstance(value, dict) else value
        heights[id(value)] = 1 + max((_check_depth(item, depth + 1, heights) for item in items), default=0)
    if depth + heights[id(value)] > _MAX_DEPTH + 1:
        raise UserError(f'containers nested more than {_MAX_DEPTH} deep')
    return heights[id(value)]


_CODES = {
    b'N': _constant(None), b'\x88': _constant(True), b'\x89': _constant(False),
    b'K': _number('<B'), b'M': _number('<H'), b'J': _number('<i'), b'G': _number('>d'),
    b'I': Unpickler.integer_line, b'L': Unpickler.integer_line,
    b'F': lambda machine: machine.push(machine.short(machine.line(), float)),
    b'\x8a': _counted('<B', _long), b'\x8b': _counted('<i', _long),
    b'S': Unpickler.quoted, b'V': Unpickler.unicode_line,
    b'U': _counted('<B', Unpickler.old_string), b'T': _counted('<i', Unpickler.old_string),
    b'\x8c': _text('<B'), b'X': _text('<I'), b'\x8d': _text('<Q'),
    b'C': _counted('<B', _bytes), b'B': _counted('<I', _bytes), b'\x8e': _counted('<Q', _bytes),
    b'\x96': _counted('<Q', _bytes),
    b'}': _empty(dict), b']': _empty(list), b'\x8f': _empty(set), b')': _constant(()),
    b'\x85': _tuple(1), b'\x86': _tuple(2), b'\x87': _tuple(3),
    b't': lambda machine: machine.push(tuple(machine.pop_to_mark())),
    b'l': lambda machine: machine.push(machine.pop_to_mark()),
    b'd': lambda machine: (items := machine.pop_to_mark(), machine.push({}), machine.set_items(items)),
    b'\x91': lambda machine: machine.push(frozenset(map(check_key, machine.pop_to_mark()))),
    b'a': Unpickler.append_one, b'e': lambda machine: (items := machine.pop_to_mark(), machine.append(items)),
    b's': Unpickler.set_item, b'u': lambda machine: (items := machine.pop_to_mark(), machine.set_items(items)),
    b'\x90': lambda machine: (items := machine.pop_to_mark(), machine.add(items)),
    b'(': lambda machine: machine.marks.append(len(machine.stack)),
    b'0': Unpickler.drop, b'1': Unpickler.pop_to_mark, b'2': lambda machine: machine.push(machine._finished(machine.stack[-1])),
    b'p': lambda machine: machine.put(machine.short(machine.line(), int)),
    b'q': lambda machine: machine.put(machine.number('<B')), b'r': lambda machine: machine.put(machine.number('<I')),
    b'\x94': lambda machine: machine.put(len(machine.memo)),
    b'g': lambda machine: machine.get(machine.short(machine.line(), int)),
    b'h': lambda machine: machine.get(machine.number('<B')), b'j': lambda machine: machine.get(machine.number('<I')),
    b'c': lambda machine: machine.push(machine.global_line()), b'\x93': Unpickler.global_stack,
    b'R': Unpickler.reduce, b'\x81': Unpickler.reduce, b'\x92': Unpickler.new_with_keywords,
    b'o': Unpickler.old_class, b'i': Unpickler.old_class_line, b'b': Unpickler.build,
    b'Q': Unpickler.persistent_id, b'P': lambda machine: (machine.push(machine.line().decode()), machine.persistent_id()),
    b'\x80': Unpickler.version, b'\x95': lambda machine: machine.number('<Q'),
    **dict.fromkeys((b'\x82', b'\x83', b'\x84'), _refuse_extension),
}
