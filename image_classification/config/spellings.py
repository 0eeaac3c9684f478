"""Other accepted names of keys: in lower case, those of PaddleViT and of the original tutorial, those of earlier versions."""
from yacs.config import CfgNode as CN

from image_classification.config.defaults import DEFAULTS

# Old key: new key. Used without a warning, because stored configurations and users' habits have the old ones.
_MOVED = {'MODEL.RESUME': 'RESUME', 'MODEL.PRETRAINED': 'PRETRAINED', 'MODEL.PUBLISHED': 'PUBLISHED',
          'MODEL.WEIGHTS': 'PUBLISHED.WEIGHTS'}
# Keys of other programs, converted with a warning.
_MOVED_ELSEWHERE = {'MODEL.MF.IN_CHANNELS': 'MODEL.IN_CHANNELS'}
_RENAMED = {'STRIED': 'STRIDE', 'STRIEDS': 'STRIDES'}
# Keys of PaddleViT that are ignored with a warning, because the library does the right thing without them.
_RETIRED = ('TAG', 'THROUGHPUT_MODE', 'TRAIN.LAST_EPOCH', 'TRAIN.MODEL_EMA_FORCE_CPU', 'DATA.IMAGE_CHANNELS',
            'TRAIN.RANDOM_ERASE_SPLIT')
# Keys stored by earlier versions, ignored without a warning.
_FORGOTTEN = ('OVERRIDES',)
_MISSING = object()


def keys_below(node, prefix=''):
    """The dotted names of all keys below a node of a configuration, groups included."""
    names = []
    for key, value in node.items():
        names.append(prefix + key)
        if isinstance(value, CN):
            names += keys_below(value, f'{prefix}{key}.')
    return names


_KNOWN = {*keys_below(DEFAULTS), *_MOVED, *_MOVED_ELSEWHERE, *_RETIRED, *_FORGOTTEN}


def in_capitals(key):
    """A dotted key in capitals, as far as its parts are shared keys. Parts that only a family knows stay as written."""
    parts = key.split('.')
    known = next((n for n in range(len(parts), 0, -1) if '.'.join(parts[:n]).upper() in _KNOWN), 0)
    return '.'.join([part.upper() for part in parts[:known]] + parts[known:])


def old_places(key):
    """Older names of a dotted key."""
    return [f'{old}{key[len(new):]}' for old, new in {**_MOVED, **_MOVED_ELSEWHERE}.items() if f'{key}.'.startswith(f'{new}.')]


def modernized(tree):
    """(nested dict with current keys, [what was changed, for a warning]). `tree` itself is not changed."""
    notes = []
    tree = _renamed(tree, '', notes)
    for key in _FORGOTTEN:
        _take(tree, key)
    for key in _RETIRED:
        if _take(tree, key) is not _MISSING:
            notes.append(f'{key} (has no effect)')
    for moved in (_MOVED, _MOVED_ELSEWHERE):
        for old, new in moved.items():
            value = _take(tree, old)
            if value is not _MISSING:
                _give(tree, new.split('.'), value)
                if moved is _MOVED_ELSEWHERE:
                    notes.append(f'{old} -> {new}')
    return tree, notes


def _renamed(tree, prefix, notes):
    """A copy of the nested dict in which every part of a key has its correct name."""
    copy = {}
    for key, value in tree.items():
        key = in_capitals(f'{prefix}{key}')[len(prefix):]
        name = _RENAMED.get(key, key)
        if name != key:
            notes.append(f'{prefix}{key} -> {prefix}{name}')
        copy[name] = _renamed(value, f'{prefix}{name}.', notes) if isinstance(value, dict) else value
    return copy


def _take(tree, key):
    """Remove a dotted key and return its value; _MISSING if it is not there."""
    *groups, last = key.split('.')
    for group in groups:
        tree = tree.get(group)
        if not isinstance(tree, dict):
            return _MISSING
    return tree.pop(last, _MISSING)


def _give(tree, parts, value):
    """Set a key, or the keys of a group, unless they are already set."""
    first, *rest = parts
    if rest or (isinstance(value, dict) and isinstance(tree.get(first), dict)):
        group = tree.setdefault(first, {})
        if group is None:                                          # an empty group in a yaml
            group = tree[first] = {}
        if isinstance(group, dict):                                # anything else is reported when the tree is merged
            for key, item in [(rest, value)] if rest else [([key], item) for key, item in value.items()]:
                _give(group, key, item)
    else:
        tree.setdefault(first, value)
