"""Names as text that every stream, file and JSON accepts.

The file system allows names that are not UTF-8. Python represents each of their invalid bytes as a lone surrogate (PEP 383),
which a strict encoder rejects. This module writes them as follows: on a stream as the bytes themselves; in JSON as an escape
that reads back as the same name; for people, and for programs that need Unicode, as an escape like \\xd6.
"""
import codecs
import contextlib
import json
import sys
import unicodedata

BYTES_OR_ESCAPES = 'paddle_mobile_backbones.bytes_or_escapes'


def _bytes_or_escapes(error):
    """The error handler for characters that an encoder lacks: the original byte of a name, else an escape like \\u732b."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start:error.end]
    escaped = [bytes([ord(letter) - 0xdc00]) if 0xdc80 <= ord(letter) <= 0xdcff else letter.encode('ascii', 'backslashreplace')
               for letter in lacking]
    return b''.join(escaped), error.end


def let_streams_take_any_name():
    """Make standard output and standard error accept any text. Call this at the start of a command."""
    codecs.register_error(BYTES_OR_ESCAPES, _bytes_or_escapes)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):     # closed, or not a stream of Python's
            stream.reconfigure(errors=BYTES_OR_ESCAPES)


def for_stream(text, stream):
    """The text as this stream accepts it, with escapes if it is strict. For functions that other programs call."""
    encoding, errors = (getattr(stream, name, None) for name in ('encoding', 'errors'))
    try:
        text.encode(encoding or 'utf-8', errors or 'strict')
        return text
    except UnicodeEncodeError:
        text = '\n'.join(map(shown, text.split('\n')))
        return text.encode(encoding or 'utf-8', 'backslashreplace').decode(encoding or 'utf-8')


def say(line):
    """Print a line immediately."""
    print(for_stream(line, sys.stdout), flush=True)


def shown(name):
    """A name or a path in valid Unicode on one line. Invalid bytes and control characters become escapes like \\xd6."""
    name = str(name)
    return name if name.isprintable() else ''.join(map(_valid, name))


def _valid(letter):
    if '\udc80' <= letter <= '\udcff':
        return f'\\x{ord(letter) - 0xdc00:02x}'
    is_odd = unicodedata.category(letter) in ('Cc', 'Cs', 'Zl', 'Zp')              # controls, surrogates, ends of lines
    return letter.encode('unicode_escape').decode() if is_odd else letter


def as_json(value, **options):
    """JSON with letters of any script unescaped, or pure ASCII if a name is not UTF-8. `json.loads` gives the same names."""
    text = json.dumps(value, ensure_ascii=False, **options)
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return json.dumps(value, **options)
