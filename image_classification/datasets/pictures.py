"""The pictures that a command line means: files, folders, patterns, numbered frames, addresses, lists, standard input.

`find_pictures` gives their names, `open_picture` one of them as an image. Names are kept in memory for files that were looked
for; lists are read line by line, however long they are.
"""
import glob
import io
import os
import re
import sys
from itertools import chain, groupby
from pathlib import Path

from image_classification.datasets.files import IMAGE_ENDINGS
from image_classification.datasets.images import open_image
from image_classification.download import read_address
from image_classification.errors import UserError
from image_classification.weights.catalogue import is_address

STANDARD_INPUT = '-'
_NUMBER = re.compile(r'%(0\d+)?d')         # as in the C library's printf and ffmpeg's image2


def find_pictures(names, are_lists=False):
    """The pictures that names mean, as `PictureNames`, in the order of the names.

    Args:
        names: files, folders (searched to any depth) and patterns, all next to each other in natural order and each once;
            numbered frames (frame_%05d.jpg); http and https addresses; lists (see `PictureList`), which end in .txt; '-', the
            bytes of one picture on standard input.
        are_lists: every name is a list, '-' is one on standard input.
    Raises:
        UserError: a name that means nothing, or a list that cannot be read.
    """
    if names.count(STANDARD_INPUT) > 1:
        raise UserError(f'{STANDARD_INPUT} is there {names.count(STANDARD_INPUT)} times; standard input can be read once')
    parts = []
    for kind, group in groupby(names, lambda name: PictureList if are_lists else _kind(name)):
        if kind is find_images:
            parts.append(find_images(group))
        else:
            parts += map(kind, group)
    return PictureNames(parts)


def _kind(name):
    """The function that gives the pictures of a name."""
    if name == STANDARD_INPUT or is_address(name):
        return lambda name: [name]
    if name.lower().endswith('.txt') and not os.path.isdir(name):
        return PictureList
    if _NUMBER.search(name) and not re.search(r'[*?]', name) and not os.path.exists(name):
        return find_frames
    return find_images


class PictureNames:
    """Names of pictures, to be gone through as often as one likes unless they come from standard input or a pipe.

    `total` is how many there are; None where only the end tells.
    """

    def __init__(self, parts):
        self._parts = parts
        lists = [part for part in parts if isinstance(part, PictureList)]
        self.total = None if any(part.comes_once for part in lists) else sum(1 for _ in self)

    def __iter__(self):
        return chain.from_iterable(self._parts)


class PictureList:
    """The lines of a text file: paths, from here or from the folder of the list, and addresses. Empty lines and those that
    begin with # are left out. Raises UserError for a list that cannot be read."""

    def __init__(self, name):
        self.name = name
        self.comes_once = not os.path.isfile(name)
        if self.comes_once and name != STANDARD_INPUT and (os.path.isdir(name) or not os.path.exists(name)):
            raise UserError(f'{name} is no file; wanted a list with one picture a line')

    def __iter__(self):
        folder = '' if self.name == STANDARD_INPUT else os.path.dirname(self.name)
        try:
            file = sys.stdin.fileno() if self.name == STANDARD_INPUT else self.name
            with open(file, encoding='utf-8-sig', errors='surrogateescape', closefd=file is self.name) as lines:
                for line in lines:
                    if '\0' in line:
                        raise UserError(f'{self.name} is no text; wanted a list with one picture a line')
                    line = line.strip()
                    if line and not line.startswith('#'):
                        beside = os.path.join(folder, line)
                        yield line if is_address(line) or os.path.exists(line) or not os.path.exists(beside) else beside
        except OSError as error:
            raise UserError(f'the list {self.name} cannot be read: {error.strerror}') from None


def find_images(names):
    """The files that names, folders and patterns mean, in natural order, each once."""
    found = {}
    for name in names:
        if os.path.isfile(name):
            files = [name]                                         # whatever its ending: it was asked for
        elif os.path.isdir(name):
            files = _below(name)
        else:
            matches = glob.glob(name, recursive=True)
            files = [file for match in matches for file in (_below(match) if os.path.isdir(match) else [match])
                     if file.lower().endswith(IMAGE_ENDINGS)]
        if not files:
            kind = 'has no images in it' if os.path.isdir(name) else 'is no file and no folder, and matches no image'
            raise UserError(f'{name} {kind}; wanted files of {", ".join(IMAGE_ENDINGS)}')
        for file in files:
            found.setdefault(os.path.abspath(file), file)
    return sorted(found.values(), key=_natural)


def _below(folder):
    return [os.path.join(directory, file) for directory, folders, files in os.walk(folder) for file in files
            if file.lower().endswith(IMAGE_ENDINGS) and not file.startswith('.')]


def _natural(name):
    """picture 2 before picture 10"""
    return [(int(part), '') if part.isdecimal() else (0, part) for part in re.split(r'(\d+)', name)]


def find_frames(pattern):
    """The files that frame_%05d.jpg means, in the order of their numbers; numbers may be missing."""
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
    """The class of a picture by the folders that it lies in: of those below the first of the folders `given` that holds it, the
    outermost that is called like a class, else that folder itself; of another file, the folder that it is in.

    Raises:
        UserError: none of them is a class, or the picture is no file.
    """
    if name == STANDARD_INPUT or is_address(name):
        raise UserError(f'{name} lies in no folder; labels from folders need files')
    path = Path(os.path.abspath(name))
    root = next((root for root in map(Path, map(os.path.abspath, given)) if root in path.parents), path.parent)
    folders = [*path.relative_to(root).parent.parts, root.name]
    label = next((folder for folder in folders if folder in classes), None)
    if label is None:
        raise UserError(f'{name} lies in no folder that is called like a class: found {", ".join(folders)}; the classes are '
                        f'{", ".join(classes[:10])}{", ..." if len(classes) > 10 else ""}')
    return label


class _Bytes(io.BytesIO):
    """The content of a file that has a name, for messages."""

    def __init__(self, data, name):
        super().__init__(data)
        self.name = name


def open_picture(name, channels=3, most_bytes=64_000_000, seconds=30):
    """The PIL image of one name that `find_pictures` gave, turned upright (see `open_image`).

    Args:
        most_bytes, seconds: limits on what comes from an address; the first also for standard input.
    Raises:
        UserError: it cannot be read, is no image, or breaks a limit.
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
