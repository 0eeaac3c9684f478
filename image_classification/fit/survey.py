"""Inspect a folder of pictures before anything is trained: sizes, unreadable files, duplicates."""
import hashlib
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from image_classification.datasets.classes import listed, places, same, unknown
from image_classification.datasets.folders import Walk, find_layout, folders_in
from image_classification.datasets.images import open_image, quietly_opened
from image_classification.datasets.kinds import about_unread, endings
from image_classification.datasets.samples import is_deep
from image_classification.errors import UserError
from image_classification.names.text import shown

_NEAR, _ALIKE = 16, 4.0                                            # near duplicates differ at most in so many of 256 bits, and
                                                                   # by so many of 255 levels on average
_NAMED, _COMPARED = 3, 20_000                                      # files named in a line; most pictures to compare in pairs


@dataclass
class Picture:
    """A picture that can be read."""
    path: Path
    label: int
    part: str                                                      # train, val, test, or '' if the folder has no such parts
    size: tuple                                                    # (width, height)
    grey: bool
    digest: bytes                                                  # SHA-256 of the file
    hash: np.ndarray                                               # 256 bits of its content, similar for near duplicates
    small: np.ndarray                                              # (16, 17, 3) uint8
    group: int = -1                                                # the same for exact and near duplicates


@dataclass
class Survey:
    """All pictures of a folder, and findings about them."""
    root: Path
    classes: list
    pictures: list
    unreadable: list = field(default_factory=list)
    ignored: list = field(default_factory=list)                    # files whose names are not those of pictures
    unread: list = field(default_factory=list)                     # pictures in formats that cannot be read
    notes: list = field(default_factory=list)                      # lines about links and skipped folders

    def counts(self, pictures=None):
        """Number of pictures per class."""
        labels = [picture.label for picture in (self.pictures if pictures is None else pictures)]
        return np.bincount(labels, minlength=len(self.classes)) if labels else np.zeros(len(self.classes), int)

    def groups(self):
        """Lists of two or more pictures that are exact or near duplicates of each other."""
        found = defaultdict(list)
        for picture in self.pictures:
            found[picture.group].append(picture)
        return [group for group in found.values() if len(group) > 1]


def survey(root, test=None):
    """Survey DIR/<class>/..., or DIR/train/<class>/... with val/ or test/ beside it.

    Args:
        test: another folder of the same classes, to use as the test.
    Raises:
        UserError: there is no folder, there are fewer than two classes, a class has no readable pictures, or val or test has a
            class that training lacks.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f'{shown(root)} {"is a file" if root.exists() else "does not exist"}; wanted a folder with a folder of '
                        'pictures for each class')
    layout = find_layout(root)
    parts = _parts(layout, test)
    first = next((place for part, place in parts if part in ('', 'train')), None)
    if first is None:
        raise UserError(f'{shown(root)} has nothing to learn, only {parts[0][1].name}/; wanted train/ beside it, or a folder '
                        'of pictures for each class')
    classes = folders_in(first)
    if len(classes) < 2:
        found = f'only the folder {shown(classes[0])!r}' if classes else 'no folders'
        raise UserError(f'{shown(first)} has {found}; wanted at least two, one for each class, with its pictures')
    walk = Walk([place for _, place in parts])
    in_order = sorted(range(len(parts)), key=lambda i: ('test', 'val', 'train', '').index(parts[i][0]))
    files = {i: _files(parts[i], first, classes, walk) for i in in_order}          # test first: a file found twice counts there
    broken = next((path for some in files.values() for path, _, _ in some if len(str(path).splitlines()) > 1), None)
    if broken:
        raise UserError(f'{shown(broken)!r} has a line break in its name, which a list of pictures cannot hold; rename it')
    with ThreadPoolExecutor(2) as pool:
        looked = list(pool.map(_look, [file for i in range(len(parts)) for file in files[i]]))
    unread, ignored = ([Path(path) for path in paths] for paths in (walk.unread, walk.others))
    walk.unread = []
    found = Survey(root, classes, [picture for picture in looked if isinstance(picture, Picture)],
                   [path for path in looked if isinstance(path, Path)], ignored, unread,
                   [note.removeprefix('warning: ') for note in [*layout.notes, *walk.notes(root)]])
    _check(found, first)
    _group(found.pictures)
    return found


def _check(found, first):
    if not found.pictures:
        count = len(found.unreadable)
        others = about_unread(found.unread, found.root)
        raise UserError(f'{shown(found.root)} has no picture that can be read ({count} unreadable, {len(found.ignored)} of '
                        f'another kind); wanted files of {", ".join(endings())}{f". {others}" if others else ""}')
    learned = found.counts([picture for picture in found.pictures if picture.part in ('', 'train')])
    lacking = [name for name, count in zip(found.classes, learned) if not count]
    if lacking:
        lost = next((note for note in found.notes if 'left out' in note or 'counts once' in note or 'count once' in note), '')
        raise UserError(f'{shown(first / lacking[0])} has no picture that can be read; wanted at least two in every class, '
                        f'or the folder moved away{f" ({lost})" if lost else ""}')


def _parts(layout, test):
    """[(part, folder with its classes)]. A part is train, val or test, or '' if the folder has no such parts.

    If there is val but no test, val becomes the test. `test` is another folder for the test, or None.
    """
    roles = dict(layout.parts)
    if 'test' not in roles and 'val' in roles:
        roles['test'] = roles.pop('val')
    found = [(part, roles[part]) for part in ('', 'train', 'val', 'test') if part in roles]
    if test is None:
        return found
    if not Path(test).is_dir():
        raise UserError(f'--test {shown(test)} is no folder; wanted one with a folder of pictures for each class')
    place = find_layout(test, folders_in(found[0][1])).first_of('test', 'val', 'train', '')[1]
    if any(part in ('', 'train') and os.path.realpath(folder) == os.path.realpath(place) for part, folder in found):
        raise UserError(f'--test {shown(test)} is the folder that is learned; wanted other pictures of the same classes')
    return [*found, ('test', place)]


def _files(part, first, classes, walk):
    """[(path of a picture, label, part)] of all class folders of a part, sorted within each class."""
    name, place = part
    folders = folders_in(place)
    for names in (folders, classes):
        places(names)
    strangers = unknown(folders, classes)
    if strangers:
        raise UserError(f'{shown(place)} has the class {shown(strangers[0])!r}, which {shown(first)} lacks; wanted the '
                        f'same classes: {listed(classes)}')
    label = {same(known): number for number, known in enumerate(classes)}
    folders = sorted(folders, key=lambda folder: label[same(folder)])
    found = walk.pictures([os.path.join(place, folder) for folder in folders])
    return [(path, label[same(folder)], name) for folder, paths in zip(folders, found) for path in sorted(map(Path, paths))]


def _look(file):
    """The Picture of (path, label, part), or its path if it cannot be read."""
    path, label, part = file
    try:
        with quietly_opened(path) as image:
            if is_deep(image):
                raise ValueError                                   # more than 8 bits: Pillow would convert it to black
            size = image.size
            image.draft('RGB', (64, 64))                           # decode a JPEG only as large as needed here
            small = image.convert('RGB').resize((17, 16), Image.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        try:                                                       # Pillow cannot convert it to RGB directly
            image = open_image(path, 3)
            size, small = image.size, image.resize((17, 16), Image.BOX)
        except UserError:
            return path
    pixels = np.asarray(small, np.int16)
    grey = bool(abs(pixels - pixels[..., :1]).max() <= 2)
    light = pixels.sum(2)
    bits = (light[:, 1:] > light[:, :-1]).reshape(-1)              # whether each pixel is brighter than its left neighbour
    return Picture(path, label, part, size, grey, hashlib.sha256(path.read_bytes()).digest(), bits,
                   pixels.astype(np.uint8))


def _group(pictures):
    """Give exact and near duplicates the same `group`."""
    parent = list(range(len(pictures)))

    def top(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen = {}
    for i, picture in enumerate(pictures):                         # the same bytes
        parent[top(i)] = top(seen.setdefault(picture.digest, i))
    hashes = np.packbits(np.stack([picture.hash for picture in pictures]), axis=1).view(np.uint64)     # (N, 4)
    for i in range(len(pictures) if len(pictures) <= _COMPARED else 0):
        for j in np.flatnonzero(_bits(hashes[i + 1:] ^ hashes[i]) <= _NEAR) + i + 1:
            if abs(pictures[i].small.astype(int) - pictures[j].small).mean() <= _ALIKE:
                parent[top(int(j))] = top(i)
    for i, picture in enumerate(pictures):
        picture.group = top(i)


def _bits(words):
    """Number of bits set in each row of (N, 4) uint64."""
    if hasattr(np, 'bitwise_count'):
        return np.bitwise_count(words).sum(1)
    return np.unpackbits(words.view(np.uint8), axis=1).sum(1)      # before numpy 2


def lines(found):
    """What a user should know about the pictures, in at most ten lines."""
    counts, pictures = found.counts(), found.pictures
    listed = ', '.join(f'{name} {count}' for name, count in list(zip(found.classes, counts))[:12])
    more = f', and {len(counts) - 12} more' if len(counts) > 12 else ''
    sides = np.array([picture.size for picture in pictures])
    text = [f'pictures    {len(pictures)} in {len(counts)} classes: {listed}{more}',
            f'sizes       {sides.min(0)[0]} x {sides.min(0)[1]} to {sides.max(0)[0]} x {sides.max(0)[1]} pixels, '
            f'the middle one {int(np.median(sides[:, 0]))} x {int(np.median(sides[:, 1]))}; {_colour(pictures)}']
    if found.unreadable:
        text.append(f'unreadable  {_names(found.unreadable)}')
    if found.unread:
        text.append(f'not read    {about_unread([os.path.relpath(path, found.root) for path in found.unread], found.root)}')
    if found.ignored:
        text.append(f'ignored     {_names(found.ignored)}: no pictures by their names')
    if found.notes:
        text.append(f'links       {"; ".join(found.notes)}')
    if counts.min() * 4 < counts.max():
        text.append(f'imbalance   {found.classes[counts.argmax()]!r} has {counts.max()} pictures, {found.classes[counts.argmin()]!r} '
                    f'{counts.min()}: rarer classes weigh more in the training')
    text += _duplicates(found)
    return text


def _colour(pictures):
    grey = sum(picture.grey for picture in pictures)
    return 'all in colour' if not grey else 'all grey' if grey == len(pictures) else f'{grey} of them grey'


def _duplicates(found):
    groups, text = found.groups(), []
    exact = sum(count - 1 for count in Counter(picture.digest for picture in found.pictures).values())
    near = sum(len(group) - 1 for group in groups) - exact
    if groups:
        text.append(f'twice       {exact} pictures are copies of others, {near} nearly: they stay on one side of the split')
    across = [group for group in groups if len({picture.part for picture in group}) > 1]
    if across:
        text.append(f'leak        {len(across)} pictures are in the training part and in the test, e.g. {across[0][0].path.name}: '
                    'they are left out of the training')
    mixed = [group for group in groups if len({picture.label for picture in group}) > 1]
    if mixed:
        one, other = mixed[0][0], next(picture for picture in mixed[0] if picture.label != mixed[0][0].label)
        text.append(f'doubtful    {len(mixed)} pictures are under two classes, e.g. {one.path.parent.name}/{one.path.name} and '
                    f'{other.path.parent.name}/{other.path.name}')
    return text


def _names(paths):
    shown = ', '.join(f'{path.parent.name}/{path.name}' for path in paths[:_NAMED])
    return f'{len(paths)} files: {shown}{", ..." if len(paths) > _NAMED else ""}'
