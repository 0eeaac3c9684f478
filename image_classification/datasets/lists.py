"""Reads text files that users write, lists of pictures and of classes, in the encodings of Linux, Windows and spreadsheets."""
import codecs
import os
import re

from image_classification.errors import UserError
from image_classification.names.text import shown

# Byte order marks, the longer ones first: UTF-32's begins with UTF-16's.
_MARKS = ((codecs.BOM_UTF32_LE, 'utf-32'), (codecs.BOM_UTF32_BE, 'utf-32'), (codecs.BOM_UTF16_LE, 'utf-16'),
          (codecs.BOM_UTF16_BE, 'utf-16'), (codecs.BOM_UTF8, 'utf-8-sig'))
_WHOLE = re.compile(r'[+-]?[0-9]+')
_LONGEST = 9                               # most digits of a label


def encoding_of(head):
    """(encoding, error handler) for a text file that begins with these bytes. Without a byte order mark it is UTF-8, and bytes
    that are not UTF-8 are kept: file names may have any encoding."""
    encoding = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), 'utf-8')
    return encoding, 'surrogateescape' if encoding.startswith('utf-8') else 'strict'


def lines_of(file, what):
    """The lines of a text file. Raises UserError if it cannot be read or is not text; `what` says what is wanted."""
    try:
        with open(file, 'rb') as stream:
            encoding, errors = encoding_of(stream.read(4))
        with open(file, encoding=encoding, errors=errors) as stream:
            lines = stream.readlines()
    except OSError as error:
        raise UserError(f'{shown(file)} cannot be read: {error.strerror}') from None
    except UnicodeError:
        raise UserError(f'{shown(file)} is damaged: it begins as {encoding.upper()} and goes on as something else; wanted '
                        f'{what}') from None
    check_text(file, ''.join(lines[:1]), what)
    return lines


def check_text(file, line, what):
    """Raise UserError if a line is not text, or is UTF-16 without a byte order mark."""
    if '\0' in line:
        raise UserError(f'{shown(file)} is no text; wanted {what}, in UTF-8, or in UTF-16 with a byte order mark')


def read_list(file):
    """([path], [label]) from the lines `path label` of a list. Paths may have backslashes, as on Windows.

    Raises:
        UserError: a line does not end in a whole number. The message gives the line's number.
    """
    names, labels = [], []
    for number, line in enumerate(lines_of(file, 'lines of "path/of/image label"'), 1):
        parts = line.rsplit(maxsplit=1)
        if not parts:
            continue
        if len(parts) < 2 or not _WHOLE.fullmatch(parts[1]):
            raise UserError(f'{shown(file)}, line {number}: {shown(line.strip())!r}; wanted "path/of/image label", the label a '
                            'whole number')
        if len(parts[1]) > _LONGEST:
            raise UserError(f'{shown(file)}, line {number}: the label {parts[1][:30]} is out of range; wanted the number of '
                            'a class, from 0 on')
        names.append(parts[0])
        labels.append(int(parts[1]))
    return with_slashes(names, os.path.dirname(file)), labels


def with_slashes(names, folder):
    """Replace backslashes in file names by slashes, if the first such file exists in `folder` only with slashes."""
    odd = next((name for name in names if '\\' in name), None)
    if odd is None or os.path.exists(os.path.join(folder, odd)):
        return names
    if not os.path.exists(os.path.join(folder, odd.replace('\\', '/'))):
        return names
    return [name.replace('\\', '/') for name in names]
