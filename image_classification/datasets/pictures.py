"""Finds the pictures that a command line names: files, folders, patterns, numbered frames, addresses, lists, standard input.

`find_pictures` finds their names, `open_picture` opens one of them. The names of files found in folders or by patterns are kept
in memory. Lists are read line by line, so they may be of any length.
"""
import fnmatch
import glob
import io
import os
import re
import sys
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path

from image_classification.datasets.classes import listed, same
from image_classification.datasets.folders import Walk
from image_classification.datasets.images import open_image
from image_classification.datasets.kinds import about_unread, endings, is_left_out
from image_classification.datasets.lists import check_text, encoding_of, with_slashes
from image_classification.download import read_address
from image_classification.errors import UserError
from image_classification.names.text import shown
from image_classification.weights.catalogue import is_address

STANDARD_INPUT = '-'
_NUMBER = re.compile(r'%(0\d+)?d')         # as in the C library's printf and ffmpeg's image2


def find_pictures(names, are_lists=False):
    """The pictures that `names` stand for, as `PictureNames`, in the order of the names.

    Args:
        names: each is one of these. A file, a folder (searched to any depth) or a pattern: adjacent ones are searched together,
            and give each file once, in natural order. Numbered frames (frame_%05d.jpg). An http or https address. A list (see
            `PictureList`), which ends in .txt. '-': the bytes of one picture on standard input.
        are_lists: every name is a list; '-' is a list on standard input.
    Raises:
        UserError: a name stands for no picture, or a list cannot be read.
    """
    if names.count(STANDARD_INPUT) > 1:
        raise UserError(f'{STANDARD_INPUT} is given {names.count(STANDARD_INPUT)} times; standard input can be read only once')
    parts, notes = [], []
    for kind, group in groupby(names, lambda name: PictureList if are_lists else _kind(name)):
        if kind is find_images:
            parts.append(find_images(group, notes))
        else:
            parts += map(kind, group)
    return PictureNames(parts, notes)


def _kind(name):
    """The function that finds the pictures for a name."""
    if name == STANDARD_INPUT or is_address(name):
        return lambda name: [name]
    if name.lower().endswith('.txt') and not os.path.isdir(name):
        return PictureList
    if _NUMBER.search(name) and not re.search(r'[*?]', name) and not os.path.exists(name):
        return find_frames
    return find_images


class PictureNames:
    """An iterable of names of pictures. It can be iterated more than once unless it reads standard input or a pipe.

    `total` is the number of names, or None if it is unknown before the end. `notes` are lines about skipped files.
    """

    def __init__(self, parts, notes=()):
        self._parts, self.notes = parts, list(notes)
        lists = [part for part in parts if isinstance(part, PictureList)]
        self.total = None if any(part.comes_once for part in lists) else sum(1 for _ in self)

    def __iter__(self):
        return chain.from_iterable(self._parts)


class PictureList:
    """The lines of a text file: addresses, and paths relative to the working directory or to the list's folder. Empty lines and
    lines that begin with # are skipped. Raises UserError if the list cannot be read."""

    def __init__(self, name):
        self.name = name
        self.comes_once = not os.path.isfile(name)
        if self.comes_once and name != STANDARD_INPUT and (os.path.isdir(name) or not os.path.exists(name)):
            raise UserError(f'{name} is no file; wanted a list with one picture a line')

    def __iter__(self):
        folder = '' if self.name == STANDARD_INPUT else os.path.dirname(self.name)
        try:
            file = sys.stdin.fileno() if self.name == STANDARD_INPUT else self.name
            encoding, errors = self._encoding()
            with open(file, encoding=encoding, errors=errors, closefd=file is self.name) as lines:
                for line in lines:
                    check_text(self.name, line, 'a list with one picture a line')
                    line = line.strip()
                    if line and not line.startswith('#'):
                        yield self._place(line, folder)
        except OSError as error:
            raise UserError(f'the list {shown(self.name)} cannot be read: {error.strerror}') from None
        except UnicodeError:
            raise UserError(f'{shown(self.name)} is damaged: it begins as {encoding.upper()} and goes on as something '
                            'else') from None

    def _encoding(self):
        """(encoding, error handler): of a file, by its first bytes; a stream is UTF-8."""
        if self.comes_once:
            return 'utf-8-sig', 'surrogateescape'
        with open(self.name, 'rb') as file:
            return encoding_of(file.read(4))

    @staticmethod
    def _place(line, folder):
        """The path of a line's picture, relative to the working directory or to the list's folder."""
        if is_address(line):
            return line
        for place in ('', folder):
            there = os.path.join(place, *with_slashes([line], place or '.'))
            if os.path.exists(there):
                return there
        return line


def find_images(names, notes=None):
    """The pictures among files, in folders and for patterns, in natural order, each once.

    `Walk` searches the folders: it skips hidden files and those made by systems, follows links once, and counts each file once.
    Args:
        notes: a list to which lines about skipped files are appended.
    """
    names, found = list(names), {}
    walk = Walk([name for name in names if os.path.isdir(name)])
    for name in names:
        if os.path.isfile(name):
            files = [name]                                         # whatever its ending: the user named it
        elif os.path.isdir(name):
            files = _below(name, walk)
        else:
            files = _matching(name, walk)
        if not files and not walk.again:
            _say_that_there_is_nothing(name, walk)
        for file in files:
            found.setdefault(os.path.abspath(file), file)
    if notes is not None:
        notes += walk.notes(os.curdir)
    return sorted(found.values(), key=_natural)


def _say_that_there_is_nothing(name, walk):
    kind = 'has no images in it' if os.path.isdir(name) else 'is no file and no folder, and matches no image'
    unread = about_unread(walk.unread, name)
    raise UserError(f'{shown(name)} {kind}; wanted files of {", ".join(endings())}{f". {unread}" if unread else ""}')


def _matching(pattern, walk):
    """The pictures that match a pattern with * and ?, and those in matching folders. Links come last."""
    asked, files = Path(pattern).parts, []
    if '**' in asked:                      # not with glob, which follows a link to a folder above for ever
        return _matching_at_any_depth(asked, walk)
    for match in sorted(glob.glob(pattern), key=lambda match: (os.path.islink(match), match)):
        if any(is_left_out(part) for part in Path(match).parts if part not in asked):
            continue
        files += _below(match, walk) if os.path.isdir(match) else walk.file(match)
    return files


def _matching_at_any_depth(asked, walk):
    place = asked.index('**')
    tops = sorted(glob.glob(os.path.join(*asked[:place]))) if place else [os.curdir]
    files = []
    for top in tops:
        found, begin = Walk([top]), len(os.path.join(top, ''))
        for path in [*found.pictures([top])[0], *found.unread]:
            parts = Path(path[begin:]).parts
            if any(_fits(parts[:depth], asked[place:]) for depth in range(1, len(parts) + 1)):
                files += walk.file(path[begin:] if not place else path)
    return files


def _fits(parts, pattern):
    """Whether a path matches a pattern, part by part; ** stands for any number of parts."""
    if not pattern:
        return not parts
    if pattern[0] == '**':
        return _fits(parts, pattern[1:]) or bool(parts) and _fits(parts[1:], pattern)
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _below(folder, walk):
    return walk.pictures([folder])[0]


def _natural(name):
    """A sort key for natural order: picture 2 comes before picture 10."""
    return [(int(part), '') if part.isdecimal() else (0, part) for part in re.split(r'(\d+)', name)]


def find_frames(pattern):
    """The files that a pattern like frame_%05d.jpg stands for, in the order of their numbers. Numbers may be missing."""
    if len(_NUMBER.findall(pattern)) > 1:
        raise UserError(f'{pattern} has more than one number in it; wanted one, as in frame_%05d.jpg')
    place = _NUMBER.search(pattern)
    before, after = pattern[:place.start()], pattern[place.end():]
    frames = {}
    for file in glob.glob(f'{glob.escape(before)}*{glob.escape(after)}'):
        number = file[len(before):len(file) - len(after)]
        if number.isdecimal() and place[0] % int(number) == number:
            frames[int(number)] = file
    if not frames:
        raise UserError(f'{pattern} matches no file; wanted a file for at least one number, e.g. {before}{place[0] % 1}{after}')
    return [frames[number] for number in sorted(frames)]


def label_from_folders(name, given, classes):
    """The class of a picture by the names of its folders.

    Of the folders below the first folder in `given` that contains the picture, the outermost one that is named like a class
    counts, else that folder itself. For a picture outside `given`, its own folder counts.

    Raises:
        UserError: none of these folders is named like a class, or the picture is not a file.
    """
    if name == STANDARD_INPUT or is_address(name):
        raise UserError(f'{name} lies in no folder; labels from folders need files')
    path = Path(os.path.abspath(name))
    root = next((root for root in map(Path, map(os.path.abspath, given)) if root in path.parents), path.parent)
    folders = [*path.relative_to(root).parent.parts, root.name]
    known = _known(tuple(classes))
    label = next((classes[known[same(folder)]] for folder in folders if same(folder) in known), None)
    if label is None:
        raise UserError(f'{shown(name)} lies in no folder that is called like a class: found {listed(folders, classes)}; the '
                        f'classes are {listed(classes)}')
    return label


@lru_cache(maxsize=4)
def _known(classes):
    """{name of a class in the form of `same`: its number}; if two have the same name, the first."""
    return {same(name): number for number, name in reversed(list(enumerate(classes)))}


class _Bytes(io.BytesIO):
    """The content of a file, with a name for messages."""

    def __init__(self, data, name):
        super().__init__(data)
        self.name = name


def open_picture(name, channels=3, most_bytes=64_000_000, seconds=30):
    """Open one name from `find_pictures` as an upright PIL image (see `open_image`).

    Args:
        most_bytes: limit on the size of a download and of standard input.
        seconds: time limit of a download.
    Raises:
        UserError: it cannot be read, is not an image, or exceeds a limit.
    """
    if name == STANDARD_INPUT:
        return open_image(_Bytes(_read_standard_input(most_bytes), 'standard input'), channels)
    if is_address(name):
        return open_image(_Bytes(read_address(name, most_bytes, seconds), name), channels)
    return open_image(name, channels)


def _read_standard_input(most_bytes):
    if sys.stdin.isatty():
        raise UserError('standard input is a terminal; wanted the bytes of a picture: ... - < photo.jpg')
    data = sys.stdin.buffer.read(most_bytes + 1)
    if not data:
        raise UserError('standard input is empty; wanted the bytes of a picture')
    if len(data) > most_bytes:
        raise UserError(f'standard input has more than {most_bytes / 1e6:g} MB; wanted the bytes of one picture')
    return data
