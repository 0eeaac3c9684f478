"""Finds a network's weights among the entries of a training checkpoint.

Training programs nest a state dict in dicts and lists of their own, and wrappers add prefixes to its keys: {'state_dict':
{'model.KEY': ...}} in Lightning, 'module.KEY' in parallel training, '_orig_mod.KEY' for compiled networks, 'Student.KEY' in
distillation. The words do not matter here. A file becomes one list of dotted names, and the prefix is taken after which most
names and shapes are the network's. Plain Python, without Paddle.
"""
import re
from collections import deque
from dataclasses import dataclass, field

import numpy as np

# If equally many entries fit, the first of these is taken: training programs evaluate the moving average.
WRAPPERS = ('model_ema', 'state_dict_ema', 'ema', 'model', 'state_dict')
# Words that PyTorch's wrappers (parallel, compiled, sharded, gradient checkpointing) insert into keys at any place.
TECHNICAL = frozenset(('module', '_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_forward_module'))
_DEEPEST = 8                                                       # most levels of nested dicts and lists
_ENOUGH = 0.5                                                      # share of a network's entries that identifies its part
_A_FEW = 0.1
_AVERAGE = re.compile(r'(?i)(^|[._])(ema|swa|avg|averaged?)([._]|$)')
_SECOND = re.compile(r'(?i)(^|[._])(teacher|target|momentum_encoder|encoder_k)([._]|$)')
# What optimizers keep for each parameter, with the parameter's name and shape.
_OF_OPTIMIZERS = re.compile(r'(?i)(^|\.)(optim(izer)?s?(_\w+)?|exp_avg\w*|moment\d?|momentum(_buffer)?|velocity|square_avg|'
                            r'grads?|gradients?|process|(lr_)?schedulers?(_\w+)?|scaler)(\.|$)')
# What training programs keep beside a network's entries, by the first word of the key.
_BESIDE = re.compile(r'(?i)((\w+_)?(loss|losses|criterion|metrics?|acc|accuracy)(_\w+)?|loss\w*|decoder\w*|mask_token|'
                     r'queue(_ptr)?|n_averaged|data_preprocessor|ema_\w*|projector|predictor)$')


@dataclass
class Part:
    """The entries of a network in a file.

    Attributes:
        state: {key: array}, without the prefix.
        prefix: e.g. 'state_dict.model.', or ''.
        style: key style.
        others: prefixes with as many fitting entries, but other values.
        passed_over: names of entries beside the network's that were not used.
        borrowed: names of entries that were missing after the prefix and were found after a part of it.
    """
    state: dict
    prefix: str = ''
    style: str = ''
    others: list = field(default_factory=list)
    passed_over: list = field(default_factory=list)
    borrowed: list = field(default_factory=list)

    def note(self):
        """The part that was taken, in words; '' if that is the whole file."""
        words = [f'taken from {self.prefix}*'] if self.prefix else []
        if self.borrowed:
            words.append(f'{_listed(self.borrowed)} from in front of that')
        if self.passed_over:
            words.append(f'passed over {_listed(self.passed_over)}')
        if self.others:
            others = _listed([f'{prefix}*' for prefix in self.others])
            words.append(f'{others} would fit as well: load_weights(model, file, part=...) chooses it')
        return '; '.join(words)


def _listed(names):
    rest = len(names) - 3
    return ', '.join(names[:3]) + (f' and {rest} more' if rest > 0 else '')


def entries(content, as_array):
    """All arrays in nested dicts and lists: [(dotted name of the containing dict or list, ending in a dot, or ''; key; array)].

    Args:
        as_array: function that gives the array in a value, or None if the value is not an array.
    """
    found, seen, waiting = [], set(), deque([('', content, 0)])
    while waiting:
        place, node, depth = waiting.popleft()
        if id(node) in seen or depth > _DEEPEST:
            continue
        seen.add(id(node))                                         # a pickle may refer to one dict in many places
        if not isinstance(node, dict) and all(map(_is_pair, node)):
            node = dict(node)                                      # the items of a state dict
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            array = as_array(value)
            if array is not None:
                found.append((place, str(key), array))
            elif isinstance(value, (dict, list, tuple)):
                waiting.append((f'{place}{key}.', value, depth + 1))
    return found


def _is_pair(item):
    return isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str)


def find_part(found, known):
    """The Part of a file's `entries` that belongs to a network. `known` is the network's {style: {key: shape}}. If nothing
    fits, the part has the first style."""
    technical = TECHNICAL - {word for keys in known.values() for key in keys for word in key.split('.')}
    hits, order = _hits(found, known, technical), list(known)
    size = {style: max(len(keys), 1) for style, keys in known.items()}
    names = {place: len(each) for place, each in hits.items()}
    shapes = {place: sum(fits for _, fits in each.values()) for place, each in hits.items()}
    enough = {(prefix, style): count if count >= _ENOUGH * size[style] else 0 for (prefix, style), count in shapes.items()}
    ranked = sorted(hits, key=lambda place: (-enough[place], -names[place], -shapes[place], rank(place[0]),
                                             order.index(place[1])))
    if not ranked or names[ranked[0]] < _A_FEW * size[ranked[0][1]]:
        place = choose_place(found)                                # for a message that compares this part with the network
        return Part(strip({key: array for where, key, array in found if where == place}, technical), place, order[0])
    best = prefix, style = ranked[0]
    rivals = [place for place in ranked[1:] if place[1] == style and enough[place]]
    part = _cut(found, hits[best], prefix, known[style], technical, tuple(place[0] for place in rivals if place[0] != prefix))
    part.style = style
    _borrow(part, hits, found, known[style])
    part.others = [place[0] for place in rivals if shapes[place] == shapes[best] and not _equal(found, hits[place], hits[best])]
    said = tuple(other for other in part.others if not prefix.startswith(other))
    part.passed_over = [name for name in part.passed_over if not name.startswith(said)
                        and not name.endswith('num_batches_tracked') and not _OF_OPTIMIZERS.search(name)]
    return part


def rank(prefix):
    """A sort key for prefixes with equally many fitting entries: moving averages first, then networks, then teachers. Within
    these, the order of WRAPPERS counts, then outer prefixes come before inner ones."""
    words = prefix.split('.')
    usual = min((WRAPPERS.index(word) for word in words if word in WRAPPERS), default=len(WRAPPERS))
    return (0 if _AVERAGE.search(prefix) else 2 if _SECOND.search(prefix) else 1, usual, len(words))


def behind(found, words):
    """Those of a file's `entries` whose dotted name contains `words`, e.g. 'model_ema' or 'state_dict.model'."""
    return [entry for entry in found if f'.{words}.' in f'.{entry[0]}{entry[1]}']


def _hits(found, known, technical):
    """{(prefix, style): {key: (index in `found`, whether the shape fits, too)}} for all entries with a key of the network."""
    hits = {}
    for number, (place, key, array) in enumerate(found):
        words = f'{place}{key}'.split('.')
        for start in range(len(words)):
            if words[start] in technical:                          # the word belongs to the prefix
                continue
            tail = '.'.join(word for word in words[start:] if word not in technical)
            styles = [style for style, keys in known.items() if tail in keys]
            prefix = ''.join(f'{word}.' for word in words[:start])
            if not styles or _OF_OPTIMIZERS.search(prefix):
                continue
            for style in styles:
                shape = known[style][tail]
                fits = tuple(np.shape(array)[:len(shape)]) == tuple(shape)
                hits.setdefault((prefix, style), {}).setdefault(tail, (number, fits))
    return hits


def _cut(found, hits, prefix, keys, technical, rivals):
    """The Part after `prefix`: everything in the dicts that hold entries of the network. Excluded are bookkeeping entries, and
    entries after longer prefixes, `rivals`, which hold the network, too."""
    taken = {number for number, _ in hits.values()}
    places = {found[number][0] for number in taken}
    part = Part({key: found[number][2] for key, (number, _) in hits.items()}, prefix)
    longer = tuple(rival for rival in rivals if rival.startswith(prefix))
    for number, (place, key, array) in enumerate(found):
        name = place + key
        if place not in places or number in taken:
            continue
        inside = '.'.join(word for word in name[len(prefix):].split('.') if word not in technical)
        beside = inside in keys or _BESIDE.match(inside.partition('.')[0]) or _is_counter(array)
        if not name.startswith(prefix) or name.startswith(longer) or beside:
            part.passed_over.append(name)
        else:
            part.state[inside] = array
    return part


def _is_counter(array):
    return np.ndim(array) == 0 or np.size(array) == 1 and np.asarray(array).dtype.kind in 'iub'


def _borrow(part, hits, found, keys):
    """Add entries that are missing after the prefix but exist after a shorter one, as in {'backbone.KEY', 'head.weight'}."""
    missing = [key for key in keys if key not in part.state]
    words = part.prefix.split('.')[:-1]
    for count in range(len(words) - 1, -1, -1):
        shorter = ''.join(f'{word}.' for word in words[:count])
        for key in missing:
            number, fits = hits.get((shorter, part.style), {}).get(key, (0, False))
            if fits and key not in part.state:
                place, name, array = found[number]
                part.state[key] = array
                part.borrowed.append(place + name)
                part.passed_over = [other for other in part.passed_over if other != place + name]


def _equal(found, some, others):
    """Whether two parts hold the same values."""
    return some.keys() == others.keys() and all(
        np.array_equal(found[some[key][0]][2], found[others[key][0]][2]) for key in some)


def parts(found):
    """The names of the dicts that hold arrays, except those of optimizers."""
    return list(dict.fromkeys(place for place, _, _ in found if not _OF_OPTIMIZERS.search(place)))


def choose_place(found):
    """The name of the dict that is called like a state dict; else that of the outermost dict, else that of the largest."""
    places = parts(found)
    usual = [place for place in places if place.rstrip('.').rpartition('.')[2] in WRAPPERS]
    if usual:
        return min(usual, key=rank)
    if '' in places or not places:
        return ''
    return max(places, key=lambda place: sum(where == place for where, _, _ in found))


def strip(state, technical=TECHNICAL):
    """Remove words of wrappers from the beginning of the keys, as long as all keys begin with the same one."""
    first = {str(key).partition('.')[0] for key in state}
    while len(first) == 1 and first <= set(technical) and all('.' in str(key) for key in state):
        state = {str(key).partition('.')[2]: array for key, array in state.items()}
        first = {key.partition('.')[0] for key in state}
    return state
