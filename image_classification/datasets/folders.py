"""How all commands read a folder of pictures: which files are pictures, which parts the data set has, and no picture twice.

`Walk` finds the pictures below folders. Real folders come first. A link to a folder is followed once, by its real path, and
never to a folder above. A file with several names (symbolic or hard links) counts once, under the first. Hidden files and files
made by systems (`kinds.py`) are skipped. `notes` reports everything that was not counted.

`find_layout` finds the parts: train/ or training/, val/, valid/ or validation/, test/ or testing/, in upper or lower case. They
may lie in a wrapper (images/train) or have one inside (train/images/<class>). Without such parts, the folders are the classes.
"""
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from image_classification.datasets.classes import listed, same
from image_classification.datasets.kinds import about_unread, endings, is_left_out, is_picture, is_read
from image_classification.errors import UserError
from image_classification.names.text import shown

ROLES = {'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test',
         'testing': 'test'}
_DEEPEST = 3                               # most wrappers around the parts
_FEW = 20                                  # most folders beside a wrapper


class Walk:
    """Finds pictures, and remembers which folders and files it has seen.

    Args:
        tops: the folders to be searched. Links to them, or to folders above them, are not followed.
    Attributes:
        twice: pairs (path, path under which the same file was counted).
        turned_back: pairs (link to a folder, its target) that were not followed: the target is above, or was seen already.
        unread: paths of pictures of kinds that are not read here.
        others: paths of files that are not pictures.
        closed: pairs (folder, why it cannot be read).
        again: how many pictures were seen more than once.
    """

    def __init__(self, tops):
        self._given = {os.path.abspath(top) for top in tops}
        self._tops = [os.path.realpath(top) for top in tops]
        self._folders, self._files, self.again = set(), {}, 0
        self.twice, self.turned_back, self.unread, self.others, self.closed = [], [], [], [], []

    def pictures(self, places):
        """The sorted paths of the pictures below each of the folders `places`."""
        found, links = [[] for _ in places], []
        for number, place in enumerate(places):
            place = os.fspath(place)
            if os.path.islink(place):
                links.append((number, place))
            else:
                self._below(place, found[number], number, links, is_linked=False)
        while links:                                               # links inside linked folders come last
            links, due = [], sorted(links)
            for number, link in due:
                self._follow(link, found[number], number, links)
        return [sorted(paths) for paths in found]

    def _below(self, top, into, number, links, is_linked):
        waiting = [top]
        while waiting:
            directory = waiting.pop()
            try:
                status = os.stat(directory)
                with os.scandir(directory) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self.closed.append((directory, error.strerror))
                continue
            identity = status.st_dev, status.st_ino
            if is_linked and identity in self._folders:
                continue
            self._folders.add(identity)
            for entry in entries:
                if is_left_out(entry.name):
                    continue
                if entry.is_symlink():
                    links.append((number, entry.path))
                elif entry.is_dir():
                    waiting.append(entry.path)
                elif entry.is_file():
                    self._add(entry.path, status.st_dev, entry.inode(), into)

    def _follow(self, link, into, number, links):
        try:
            status = os.stat(link)
        except OSError:                                            # a broken link: reading it will report that
            if is_read(link):
                into.append(link)
            return
        if os.path.isfile(link):
            self._add(link, status.st_dev, status.st_ino, into)
        elif os.path.isdir(link):
            real = os.path.realpath(link)
            above = [] if os.path.abspath(link) in self._given else [os.path.realpath(os.path.dirname(link)), *self._tops]
            if (status.st_dev, status.st_ino) in self._folders or any(_is_above(real, place) for place in above):
                self.turned_back.append((link, real))
            else:
                self._below(link, into, number, links, is_linked=True)

    def _add(self, path, device, number, into):
        """Count a file unless it was seen already. `number` is its inode. Some network file systems give all files of a folder
        the same inode, so if one recurs, the two files are compared."""
        name = os.path.basename(path)
        first = self._files.setdefault(device << 64 | number, path)
        if first is path or not _is_same_file(first, path):
            (into if is_read(name) else self.unread if is_picture(name) else self.others).append(path)
            return
        self.again += is_read(name)
        if is_read(name) and os.path.abspath(first) != os.path.abspath(path):      # else the same folder was given twice
            self.twice.append((path, first))

    def file(self, path):
        """[path], or [] if it is not a picture or was seen already under another name."""
        into = []
        self._follow(path, into, 0, [])
        return into

    def notes(self, root, part=None):
        """Warnings about what was not counted, below the folder `part` or anywhere. Paths are relative to `root`."""
        part = '' if part is None else os.path.join(part, '')

        def of_part(pairs):
            return [pair for pair in pairs if os.path.join(pair[0], '').startswith(part)]

        def named(path):
            return shown(os.path.relpath(path, root))

        def line(found, one, many, example):
            more = len(found) > 1
            return f'{len(found)} {many if more else one}: {example}{", ..." if more else ""}' if found else ''

        def said(pairs):
            return f'{named(pairs[0][0])} is the same file as {named(pairs[0][1])}' if pairs else ''

        twice, back, closed = map(of_part, (self.twice, self.turned_back, self.closed))
        elsewhere = [pair for pair in twice if not pair[1].startswith(part)]
        within = [pair for pair in twice if pair[1].startswith(part)]
        unread = [os.path.relpath(path, root) for path in self.unread if path.startswith(part)]
        lines = [
            about_unread(unread, root),
            line(elsewhere, 'training picture is also evaluated and so left out',
                 'training pictures are also evaluated and so left out', said(elsewhere)),
            line(within, 'picture has a second name and counts once', 'pictures have a second name and count once',
                 said(within)),
            line(back, 'link to a folder is not followed, because that folder is searched anyway',
                 'links to folders are not followed, because these folders are searched anyway',
                 f'{named(back[0][0])} leads to {shown(back[0][1])}' if back else ''),
            line(closed, 'folder cannot be read', 'folders cannot be read',
                 f'{named(closed[0][0])} ({closed[0][1]})' if closed else '')]
        return [f'warning: {text}' for text in lines if text]

    def check(self, places, found):
        """Raise UserError if one of `places` has no pictures, with the reason. `found` is the result of `pictures`."""
        empty = next((os.fspath(place) for place, paths in zip(places, found) if not paths), None)
        if empty is None:
            return

        def inside(pairs):
            return next((pair for pair in pairs if os.path.join(pair[0], '').startswith(os.path.join(empty, ''))), None)

        twice, back, closed = map(inside, (self.twice, self.turned_back, self.closed))
        unread = [path for path in self.unread if path.startswith(os.path.join(empty, ''))]
        wanted = 'wanted at least one in every class folder'
        if unread:
            raise UserError(f'{about_unread([os.path.relpath(path, empty) for path in unread], empty)}. {wanted.capitalize()}')
        if closed:
            raise UserError(f'{shown(closed[0])} cannot be read: {closed[1]}; {wanted}')
        if twice:
            there = shown(os.path.dirname(twice[1]))
            raise UserError(f'{shown(empty)} has only pictures that are also in {there} and count there: {shown(twice[0])} '
                            f'is the same file as {shown(twice[1])}. {wanted.capitalize()} that is in no other')
        if back:
            raise UserError(f'{shown(empty)} has no pictures except through a link to {shown(back[1])}, which is searched '
                            f'already; {wanted} that is in no other')
        raise UserError(f'{shown(empty)} has no images ({", ".join(endings())}); {wanted}')


def _is_above(real, place):
    """Whether a real path is `place` or a folder above it."""
    return os.path.join(place, '').startswith(os.path.join(real, ''))


def _is_same_file(one, other):
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _is_folder(entry):
    """Whether a directory entry is a folder, or a link to one. Needs no system call for ordinary files."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def folders_in(path):
    """Sorted names of the folders in a folder, without those that `is_left_out` skips and links to folders above.

    Raises:
        UserError: `path` is not a folder, or cannot be read.
    """
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not is_left_out(entry.name) and _is_folder(entry)]
    except OSError as error:
        raise UserError(f'{shown(path)} cannot be read as a folder of classes: {error.strerror}') from None
    here = os.path.realpath(path)

    def leads_above(name):
        place = os.path.join(path, name)
        return os.path.islink(place) and _is_above(os.path.realpath(place), here)

    return sorted(name for name in names if not leads_above(name))


def class_names(path, missing=None):
    """The names from `folders_in`. If there are none: `missing`, or UserError if that is None."""
    names = folders_in(path)
    if not names and missing is None:
        raise UserError(f'{shown(path)} has no folders in it; wanted one per class, with its images')
    return names or list(missing)


def has_pictures(folder, deep=True):
    """Whether a folder has a picture of any kind, also of those that are not read here. `deep` looks at all depths below it."""
    waiting, seen = [os.fspath(folder)], set()
    while waiting:
        directory = waiting.pop()
        real = os.path.realpath(directory)
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if is_left_out(entry.name):
                        continue
                    if _is_folder(entry):
                        waiting += [entry.path] * deep
                    elif is_picture(entry.name):
                        return True
        except OSError:
            continue
    return False


@dataclass
class Layout:
    """Where the class folders of a data set are."""
    root: Path                             # as it was given
    parts: dict                            # {'train', 'val' or 'test': folder of its classes}; without parts, {'': folder}
    notes: list                            # lines about folders that were skipped

    def first_of(self, *roles):
        """(role, folder) of the first of these roles that exists; (None, None) if none does."""
        return next(((role, self.parts[role]) for role in roles if role in self.parts), (None, None))

    def named(self, role):
        """A part's folder in messages, relative to the root."""
        return f'{os.path.relpath(self.parts[role], self.root)}/' if role else shown(self.root)


def find_layout(root, known=()):
    """The Layout of a folder.

    Args:
        known: names of the classes, if they are known. A folder with such a name is not a wrapper.
    Raises:
        UserError: `root` is not a folder, or its layout is ambiguous.
    """
    root, known = Path(root), {same(name) for name in known}
    chain = _wrappers(root, known)
    for place, _ in chain:
        parts, notes = _find_parts(place, known)
        if parts:
            inside = {}
            for role in sorted(parts, key=('train', 'val', 'test').index):
                inside[role] = _unwrapped(parts[role], known)
                known = known or {same(name) for name in folders_in(inside[role])}
            return Layout(root, inside, notes)
    place = _unwrapped(root, known)
    return Layout(root, {'': place}, [] if place == root else [f'the classes are the folders in {shown(place)}'])


def _wrappers(root, known):
    """The chain of wrappers from `root` down: [(folder, whether it is the only folder in its parent)].

    A folder is a wrapper's content if it alone, among the folders beside it, has pictures. They must lie in folders of its own,
    and its name must not be a known class.
    """
    chain = [(root, True)]
    while len(chain) <= _DEEPEST:
        place = chain[-1][0]
        names = folders_in(place)
        full = [name for name in names if has_pictures(place / name)] if len(names) <= _FEW else names
        if len(full) != 1 or same(full[0]) in known or has_pictures(place / full[0], deep=False):
            break
        chain.append((place / full[0], len(names) == 1))
    return chain


def _unwrapped(root, known):
    """The folder that contains the class folders: `root`, or the last of its `_wrappers`.

    A wrapper must be the only folder at its level: beside empty folders it would be a class, as they are. It must contain
    several folders with pictures, or only known classes.
    """
    chain = _wrappers(root, known)
    place, alone = chain[-1][0], all(alone for _, alone in chain)
    inside = [name for name in folders_in(place) if has_pictures(place / name)]
    return place if alone and (len(inside) > 1 or inside and known.issuperset(map(same, inside))) else root


def _find_parts(root, known):
    """({role: folder}, notes). There are no roles if the folders are classes; a class may be called train, too."""
    names, roles = folders_in(root), defaultdict(list)
    for name in names:
        if name.lower() in ROLES:
            roles[ROLES[name.lower()]].append(root / name)
    if not roles or known and known.issuperset(map(same, names)):
        return {}, []
    others = [name for name in names if name.lower() not in ROLES and has_pictures(root / name)]
    if others and _are_classes(root, roles, others, known):
        return {}, []
    ignored = [f'warning: {shown(root)} has {listed(others)} beside its parts, which is not looked at'] if others else []
    return {role: _only(folders) for role, folders in roles.items()}, ignored


def _are_classes(root, roles, others, known):
    """Whether folders named like parts are classes, like the `others` beside them.

    Raises:
        UserError: they may be parts or classes.
    """
    folders = [folder for some in roles.values() for folder in some]
    inside = [[name for name in folders_in(folder) if has_pictures(folder / name)] for folder in folders]
    if known and any(known.issuperset(map(same, names)) for names in inside if names):
        return False
    if max(map(len, inside)) < 2 or len(roles) > 1 and 'train' in roles:
        return max(map(len, inside)) < 2
    name = folders[0].name
    raise UserError(f'{shown(root)} has {name}/ with folders of pictures in it, as a part of a data set has, and beside it '
                    f'{listed(others)}: is {name}/ a part or a class? As a part, wanted no others beside it but train/, val/ '
                    'and test/; as a class, another name')


def _only(folders):
    """The only folder of a role that has pictures. Raises UserError if several have."""
    full = [folder for folder in folders if len(folders) == 1 or has_pictures(folder)]
    if len(full) > 1:
        raise UserError(f'{shown(full[0])} and {shown(full[1])} are names of the same part of a data set; wanted one of '
                        'them')
    return full[0] if full else folders[0]
