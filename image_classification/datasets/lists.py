"""Text files of people, read: lists of pictures and of classes, as Linux, Windows and spreadsheets write them."""
import codecs
import os
import re

from image_classification.errors import UserError
from image_classification.names.text import shown

# The longer marks first: that of UTF-16 is the beginning of that of UTF-32.
_MARKS = ((codecs.BOM_UTF32_LE, 'utf-32'), (codecs.BOM_UTF32_BE, 'utf-32'), (codecs.BOM_UTF16_LE, 'utf-16'),
          (codecs.BOM_UTF16_BE, 'utf-16'), (codecs.BOM_UTF8, 'utf-8-sig'))
_WHOLE = re.compile(r'[+-]?[0-9]+')
_LONGEST = 9                               # digits of a label


def encoding_of(head):
    """(how a text is encoded that begins with these bytes, what to do with bytes that are none of it). Names of files may be of
    any encoding, which UTF-8 keeps; others have a mark at their beginning."""
    encoding = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), 'utf-8')
    return encoding, 'surrogateescape' if encoding.startswith('utf-8') else 'strict'


def lines_of(file, what):
    """The lines of a text file. Raises UserError where it cannot be read, or is no text; `what` says what is wanted."""
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
    """Raise UserError for a line of no text, or of UTF-16 without a mark."""
    if '\0' in line:
        raise UserError(f'{shown(file)} is no text; wanted {what}, in UTF-8, or in UTF-16 with a byte order mark')


def read_list(file):
    """([path], [label]) of the lines `path label` of a list. Paths may have backslashes, as on Windows.

    Raises:
        UserError: a line without a whole number at its end, with its number.
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
    """Names of files, with slashes in place of backslashes where so they are there, and as they are they are not."""
    odd = next((name for name in names if '\\' in name), None)
    if odd is None or os.path.exists(os.path.join(folder, odd)):
        return names
    if not os.path.exists(os.path.join(folder, odd.replace('\\', '/'))):
        return names
    return [name.replace('\\', '/') for name in names]
