"""Compares lists of classes by name: data and checkpoint, training and test set, teacher and student.

Names are equal if their letters are, whatever their Unicode composition: a folder `café` from a Mac equals one from Linux.
"""
import contextlib
import difflib
import unicodedata

import numpy as np

from image_classification.datasets.imagenet_names import names_to_show
from image_classification.errors import UserError
from image_classification.names.text import shown

_NAMED = 10                                # most names in a message


def same(name):
    """The form of a name for comparison: its bytes read as UTF-8, however the locale decoded them, in NFC."""
    name = str(name)
    with contextlib.suppress(UnicodeEncodeError):                  # a surrogate that does not stand for a byte
        name = name.encode('utf-8', 'surrogateescape').decode('utf-8', 'surrogateescape')
    return unicodedata.normalize('NFC', name)


def are_known(names):
    """Whether `names` are real class names: neither an empty list nor the numbers 0, 1, ..."""
    return list(map(str, names)) not in ([], [str(index) for index in range(len(names))])


def places(names):
    """{name in the form of `same`: its number}. Raises UserError if two names are the same."""
    found = {}
    for number, name in enumerate(names):
        if found.setdefault(same(name), number) != number:
            other = names[found[same(name)]]
            how = '' if str(other) == str(name) else ', which differ only in how their letters are composed (Unicode)'
            raise UserError(f'two classes are called {shown(name)}{how}: {ascii(str(other))} and {ascii(str(name))}; wanted '
                            'a name of its own for each')
    return found


def unknown(names, classes):
    """Those of `names` that are not in `classes`."""
    known = {same(name) for name in classes}
    return [name for name in names if same(name) not in known]


def order(wanted, given):
    """For each of the classes `wanted`, its place in the list `given`; None if these are not the same classes."""
    wanted, given = ([same(name) for name in names_to_show(names, len(names))] for names in (wanted, given))
    if wanted == given:                    # also if two classes have the same name, like ImageNet's cranes
        return list(range(len(wanted)))
    if sorted(wanted) != sorted(given) or len(set(given)) < len(given):
        return None
    number = {name: index for index, name in enumerate(given)}
    return [number[name] for name in wanted]


def difference(ours, theirs, us, them):
    """The difference between two lists of classes, in words; '' if they are equal.

    Args:
        us, them: names of the owners of the lists, e.g. 'the data set' and 'the checkpoint'.
    """
    if order(ours, theirs) == list(range(len(ours))):
        return ''
    only_ours, only_theirs = unknown(ours, theirs), unknown(theirs, ours)
    if not only_ours and not only_theirs and len(ours) == len(theirs):
        number = next(i for i, pair in enumerate(zip(ours, theirs)) if same(pair[0]) != same(pair[1]))
        return (f'the same classes are in another order: number {number} is {shown(ours[number])} in {us}, '
                f'{shown(theirs[number])} in {them}')
    return '; '.join(f'only in {where}: {listed(names, others)}' for where, names, others in
                     ((us, only_ours, theirs), (them, only_theirs, ours)) if names) or \
        f'{us} has {len(ours)} classes, {them} {len(theirs)}'


def match_classes(data, names, source):
    """Renumber the labels of a data set to match the network's class names, `names`.

    Args:
        source: where the network comes from, for messages.
    Returns:
        lines for the log that say what was assumed or changed.
    Raises:
        UserError: the data set has classes that the network does not know.
    """
    meant = names or names_to_show([], len(data.classes))          # 1,000 classes without names have ImageNet's
    if order(data.classes, meant) == list(range(len(meant))):
        return []
    if not are_known(names) or not are_known(data.classes):
        whose = 'the network' if not are_known(names) else 'the data set'
        return [f'the class names of {whose} are not known: class numbers of data set and network are taken to mean the same']
    if unknown(data.classes, names):
        raise UserError(f'{source} knows other classes than the data set has: '
                        f'{difference(data.classes, names, "the data set", "the network")}. Evaluate it on data of its own '
                        'classes.')
    number = places(names)
    data.labels = np.array([number[same(name)] for name in data.classes], np.int64)[data.labels]
    data.classes = list(names)
    return ['the data set has the classes in another order than the network, or lacks some: they are matched by name']


def listed(names, others=()):
    """At most ten names, for a message. A name that resembles one of `others` is followed by that one."""
    texts = [_with_its_like(str(name), others) for name in names[:_NAMED]]
    return ', '.join(texts) + (f', ... ({len(names)} in all)' if len(names) > _NAMED else '')


def _with_its_like(name, others):
    near = difflib.get_close_matches(name.casefold(), {str(other).casefold(): other for other in others}, 1, 0.6)
    if not near:
        return shown(name)
    like = next(str(other) for other in others if str(other).casefold() == near[0])
    plain = name.isascii() and like.isascii() and name.strip() == name
    form = shown if plain else ascii       # names that look the same differ in ascii
    return f'{form(name)} (like {form(like)}?)'
