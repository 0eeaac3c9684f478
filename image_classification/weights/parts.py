"""Which entries of a file are a network's weights, whatever a training program has put around them.

Programs keep a state dict in dicts and lists of their own, and wrappers put words before its keys: {'state_dict': {'model.KEY':
...}} of Lightning, 'module.KEY' of parallel training, '_orig_mod.KEY' of compiled networks, 'Student.KEY' of distillation. The
words do not matter here: all of a file is one list of dotted names, and the prefix behind which most names and shapes are the
network's is taken. Plain Python, without Paddle.
"""
import re
from collections import deque
from dataclasses import dataclass, field

import numpy as np

# Where equally many entries fit, the first of these: the moving average is what a training program evaluates.
WRAPPERS = ('model_ema', 'state_dict_ema', 'ema', 'model', 'state_dict')
# Words that wrappers of PyTorch put into keys, at any place: parallel, compiled, sharded, with gradient checkpoints.
TECHNICAL = frozenset(('module', '_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_forward_module'))
_DEEPEST = 8                                                       # dicts and lists in each other
_ENOUGH = 0.5                                                      # of a network's entries, which tell its part from another
_A_FEW = 0.1
_AVERAGE = re.compile(r'(?i)(^|[._])(ema|swa|avg|averaged?)([._]|$)')
_SECOND = re.compile(r'(?i)(^|[._])(teacher|target|momentum_encoder|encoder_k)([._]|$)')
# What optimizers keep of each parameter: its names and shapes are the parameter's.
_OF_OPTIMIZERS = re.compile(r'(?i)(^|\.)(optim(izer)?s?(_\w+)?|exp_avg\w*|moment\d?|momentum(_buffer)?|velocity|square_avg|'
                            r'grads?|gradients?|process|(lr_)?schedulers?(_\w+)?|scaler)(\.|$)')
# What training programs keep beside a network's entries, by the first word.
_BESIDE = re.compile(r'(?i)((\w+_)?(loss|losses|criterion|metrics?|acc|accuracy)(_\w+)?|loss\w*|decoder\w*|mask_token|'
                     r'queue(_ptr)?|n_averaged|data_preprocessor|ema_\w*|projector|predictor)$')


@dataclass
class Part:
    """The entries of a network in a file.

    `state`: {key: array}, without the prefix. `prefix`: 'state_dict.model.', or ''. `style`: of the keys. `others`: prefixes
    behind which as many entries fit, with other numbers. `passed_over`: names of entries beside them. `borrowed`: names of
    entries that were missing behind the prefix and stood behind a part of it.
    """
    state: dict
    prefix: str = ''
    style: str = ''
    others: list = field(default_factory=list)
    passed_over: list = field(default_factory=list)
    borrowed: list = field(default_factory=list)

    def note(self):
        """What was taken, where that is not the whole file; ''."""
        words = [f'taken from {self.prefix}*'] if self.prefix else []
        if self.borrowed:
            words.append(f'{_listed(self.borrowed)} from in front of that')
        if self.passed_over:
            words.append(f'passed over {_listed(self.passed_over)}')
        if self.others:
            others = _listed([f'{prefix}*' for prefix in self.others])
            words.append(f'{others} would fit as well, for which there is load_weights(model, file, part=...)')
        return '; '.join(words)


def _listed(names):
    rest = len(names) - 3
    return ', '.join(names[:3]) + (f' and {rest} more' if rest > 0 else '')


def entries(content, as_array):
    """[(dotted name of the dict or list that holds it, with a dot at the end, or ''; key, array)] of all arrays in nested ones.

    Args:
        as_array: the array in a value, None where it is none.
    """
    found, seen, waiting = [], set(), deque([('', content, 0)])
    while waiting:
        place, node, depth = waiting.popleft()
        if id(node) in seen or depth > _DEEPEST:
            continue
        seen.add(id(node))                                         # a pickle can hold one dict in many places
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
    """The Part of `entries` that a network's are. `known` is {style: {key: shape}} of the network; where nothing fits, the part
    has the first style."""
    technical = TECHNICAL - {word for keys in known.values() for key in keys for word in key.split('.')}
    hits, order = _hits(found, known, technical), list(known)
    size = {style: max(len(keys), 1) for style, keys in known.items()}
    names = {place: len(each) for place, each in hits.items()}
    shapes = {place: sum(fits for _, fits in each.values()) for place, each in hits.items()}
    enough = {(prefix, style): count if count >= _ENOUGH * size[style] else 0 for (prefix, style), count in shapes.items()}
    ranked = sorted(hits, key=lambda place: (-enough[place], -names[place], -shapes[place], rank(place[0]),
                                             order.index(place[1])))
    if not ranked or names[ranked[0]] < _A_FEW * size[ranked[0][1]]:
        place = choose_place(found)                                # for a message that compares it with the network
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
    """What comes first where as much fits: the moving average, a network, a teacher; in these the order of WRAPPERS, and the
    outer before the inner."""
    words = prefix.split('.')
    usual = min((WRAPPERS.index(word) for word in words if word in WRAPPERS), default=len(WRAPPERS))
    return (0 if _AVERAGE.search(prefix) else 2 if _SECOND.search(prefix) else 1, usual, len(words))


def behind(found, words):
    """Those of `entries` whose prefix has these words, e.g. 'model_ema' or 'state_dict.model'."""
    return [entry for entry in found if f'.{words}.' in f'.{entry[0]}{entry[1]}']


def _hits(found, known, technical):
    """{(prefix, style): {key: (number in `found`, whether the shape fits, too)}} of all that has a key of the network."""
    hits = {}
    for number, (place, key, array) in enumerate(found):
        words = f'{place}{key}'.split('.')
        for start in range(len(words)):
            if words[start] in technical:                          # it belongs to the prefix
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
    """The Part behind `prefix`: strictly all of the dicts in which something is the network's, but for bookkeeping and for what
    stands behind longer prefixes, `rivals`, where the network is, too."""
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
    """Add what is missing behind the prefix and stands in front of it, as in {'backbone.KEY', 'head.weight'}."""
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
    """Whether two places hold the same numbers."""
    return some.keys() == others.keys() and all(
        np.array_equal(found[some[key][0]][2], found[others[key][0]][2]) for key in some)


def parts(found):
    """The names of the dicts that hold arrays, but for those of optimizers."""
    return list(dict.fromkeys(place for place, _, _ in found if not _OF_OPTIMIZERS.search(place)))


def choose_place(found):
    """The name of the dict that is a state dict by its own name, else the outermost, else the largest."""
    places = parts(found)
    usual = [place for place in places if place.rstrip('.').rpartition('.')[2] in WRAPPERS]
    if usual:
        return min(usual, key=rank)
    if '' in places or not places:
        return ''
    return max(places, key=lambda place: sum(where == place for where, _, _ in found))


def strip(state, technical=TECHNICAL):
    """The state without the words of wrappers that all its keys begin with, as often as they do."""
    first = {str(key).partition('.')[0] for key in state}
    while len(first) == 1 and first <= set(technical) and all('.' in str(key) for key in state):
        state = {str(key).partition('.')[2]: array for key, array in state.items()}
        first = {key.partition('.')[0] for key in state}
    return state
