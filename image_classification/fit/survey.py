"""What is in a folder of pictures, before anything is trained: sizes, files that cannot be read, pictures that are there twice."""
import hashlib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from image_classification.datasets.files import IMAGE_ENDINGS, VAL_NAMES
from image_classification.datasets.images import open_image
from image_classification.errors import UserError

TRAIN, TEST = ('train', 'training'), ('test', *(name for name in VAL_NAMES if name != 'test'))
_NEAR, _ALIKE = 16, 4.0                                            # near duplicates differ in so many of 256 bits and, on
                                                                   # average, by so many of 255 levels, at most
_NAMED, _COMPARED = 3, 20_000                                      # files that a line names; pictures that are compared in pairs


@dataclass
class Picture:
    """One readable file."""
    path: Path
    label: int
    part: str                                                      # train, val, test, or '' of class folders that stand alone
    size: tuple                                                    # (width, height)
    grey: bool
    digest: bytes                                                  # of the file
    hash: np.ndarray                                               # 256 bits of what it shows; nearly equal for near duplicates
    small: np.ndarray                                              # (16, 17, 3) uint8
    group: int = -1                                                # the same for pictures that belong together


@dataclass
class Survey:
    """All pictures of a folder, and what is noticeable about them."""
    root: Path
    classes: list
    pictures: list
    unreadable: list = field(default_factory=list)
    unsupported: list = field(default_factory=list)

    def counts(self, pictures=None):
        """Pictures of each class."""
        labels = [picture.label for picture in (self.pictures if pictures is None else pictures)]
        return np.bincount(labels, minlength=len(self.classes)) if labels else np.zeros(len(self.classes), int)

    def groups(self):
        """Lists of pictures that are exact or near duplicates of each other, two or more."""
        found = defaultdict(list)
        for picture in self.pictures:
            found[picture.group].append(picture)
        return [group for group in found.values() if len(group) > 1]


def survey(root, test=None):
    """Look at DIR/<class>/..., or at DIR/train/<class>/... with val/ or test/ beside it.

    Args:
        test: another folder of the same classes, whose pictures are the test.
    Raises:
        UserError: no folder, no class, one class alone, a class without readable pictures, another class in the test.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f'{root} {"is a file" if root.exists() else "does not exist"}; wanted a folder with a folder of pictures for '
                        'each class')
    places = [(part, root / name) for part, name in _parts(root).items()] or [('', root)]
    if test is not None:
        places.append(('test', _class_root(Path(test))))
    first = next((place for part, place in places if part in ('', 'train')), places[0][1])
    classes = _folders(first)
    if len(classes) < 2:
        found = f'only the folder {classes[0]!r}' if classes else 'no folders'
        raise UserError(f'{first} has {found}; wanted at least two, one for each class, with its pictures')
    files, unsupported = [], []
    for part, place in places:
        unknown = sorted(set(_folders(place)) - set(classes))
        if unknown:
            raise UserError(f'{place} has the class {unknown[0]!r}, which {first} lacks; wanted the same classes: {", ".join(classes)}')
        for label, name in enumerate(classes):
            good, bad = _files(place / name)
            files += [(path, label, part) for path in good]
            unsupported += bad
    with ThreadPoolExecutor(2) as pool:
        looked = list(pool.map(_look, files))
    found = Survey(root, classes, [picture for picture in looked if isinstance(picture, Picture)],
                   [path for path in looked if isinstance(path, Path)], unsupported)
    _check(found, first)
    _group(found.pictures)
    return found


def _check(found, first):
    if not found.pictures:
        count = len(found.unreadable)
        raise UserError(f'{found.root} has no picture that can be read ({count} unreadable, {len(found.unsupported)} of another kind); '
                        f'wanted files of {", ".join(IMAGE_ENDINGS)}')
    learned = found.counts([picture for picture in found.pictures if picture.part in ('', 'train')])
    lacking = [name for name, count in zip(found.classes, learned) if not count]
    if lacking:
        raise UserError(f'{first / lacking[0]} has no picture that can be read; wanted at least two in every class, '
                        'or the folder moved away')


def _parts(root):
    """{'train', 'val', 'test': name of the folder} of a folder with parts; {} of class folders that stand alone."""
    names = {entry.name for entry in root.iterdir() if entry.is_dir()}
    train = next((name for name in TRAIN if name in names), None)
    others = [name for name in TEST if name in names]
    if train is None or not others:
        return {}
    parts = {'train': train}
    if len(others) > 1 and 'test' in others:
        parts['val'] = next(name for name in others if name != 'test')
    parts['test'] = others[0]
    return parts


def _class_root(root):
    """The folder that holds the classes of a test: DIR/test, DIR/val or DIR itself."""
    if not root.is_dir():
        raise UserError(f'--test {root} is no folder; wanted one with a folder of pictures for each class')
    return next((root / name for name in TEST if (root / name).is_dir()), root)


def _folders(root):
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith('.'))


def _files(folder):
    """(picture files below a folder, sorted; others)."""
    good, bad = [], []
    for path in sorted(folder.rglob('*')) if folder.is_dir() else ():
        if path.is_file() and not any(part.startswith('.') for part in path.relative_to(folder).parts):
            (good if path.name.lower().endswith(IMAGE_ENDINGS) else bad).append(path)
    return good, bad


def _look(file):
    """The Picture of (path, label, part), or its path where it cannot be read."""
    path, label, part = file
    try:
        with Image.open(path) as image:
            size = image.size
            image.draft('RGB', (64, 64))                           # of a JPEG no more pixels than are looked at here
            small = image.convert('RGB').resize((17, 16), Image.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        try:                                                       # a kind that Pillow cannot turn into RGB at once
            image = open_image(path, 3)
            size, small = image.size, image.resize((17, 16), Image.BOX)
        except UserError:
            return path
    pixels = np.asarray(small, np.int16)
    grey = bool(abs(pixels - pixels[..., :1]).max() <= 2)
    light = pixels.sum(2)
    bits = (light[:, 1:] > light[:, :-1]).reshape(-1)              # whether it gets brighter from each pixel to the next
    return Picture(path, label, part, size, grey, hashlib.sha256(path.read_bytes()).digest(), bits,
                   pixels.astype(np.uint8))


def _group(pictures):
    """Give pictures that show the same thing the same `group`."""
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
    """How many bits are set in each row of (N, 4) uint64."""
    if hasattr(np, 'bitwise_count'):
        return np.bitwise_count(words).sum(1)
    return np.unpackbits(words.view(np.uint8), axis=1).sum(1)      # before numpy 2


def lines(found):
    """What a person should know of their pictures, in at most ten lines."""
    counts, pictures = found.counts(), found.pictures
    listed = ', '.join(f'{name} {count}' for name, count in list(zip(found.classes, counts))[:12])
    more = f', and {len(counts) - 12} more' if len(counts) > 12 else ''
    sides = np.array([picture.size for picture in pictures])
    text = [f'pictures    {len(pictures)} in {len(counts)} classes: {listed}{more}',
            f'sizes       {sides.min(0)[0]} x {sides.min(0)[1]} to {sides.max(0)[0]} x {sides.max(0)[1]} pixels, '
            f'the middle one {int(np.median(sides[:, 0]))} x {int(np.median(sides[:, 1]))}; {_colour(pictures)}']
    if found.unreadable:
        text.append(f'unreadable  {_names(found.unreadable)}')
    if found.unsupported:
        text.append(f'ignored     {_names(found.unsupported)}: no pictures by their names')
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
