"""Allowed values of configuration keys and command options. A key is defined with its bounds: `KEY = default, bounds`.

No bounds admit NaN or infinity. A key without bounds takes any value of its default's type.
"""
from numbers import Integral, Real

from yacs.config import CfgNode as CN

from image_classification.errors import UserError

_LONGEST = 80                              # most letters of a value in a message


class Bounds:
    """A test for values, `admits(value)`, and `wanted`, its description in words for messages."""

    def __init__(self, admits, wanted):
        self.admits, self.wanted = admits, wanted

    def fault(self, value):
        """None for a valid value; else (index in a list, such as '[1]', or '', the value found, what is wanted)."""
        return None if self.admits(value) else ('', value, self.wanted)

    def spelled(self, value):
        """A valid value in the spelling that the code compares with."""
        return value


class Choice(Bounds):
    """One of several strings; with `any_case`, case does not matter."""

    def __init__(self, choices, any_case=False):
        self.choices = choices
        shown = [choice for choice in choices if choice]
        words = f'{", ".join(shown[:-1])} or {shown[-1]}' if len(shown) < 4 else f'one of: {", ".join(shown)}'
        words += ", or '' for none" if '' in choices else ''
        self._known = {choice.lower() if any_case else choice: choice for choice in choices}
        self._key = str.lower if any_case else str
        super().__init__(lambda value: isinstance(value, str) and self._key(value) in self._known, words)

    def spelled(self, value):
        return self._known[self._key(value)] if self.admits(value) else value


class Each(Bounds):
    """A list whose items are within the bounds `of`. It has `count` items or, if that is 0, at least `least`."""

    def __init__(self, of, count=0, least=0):
        some = f'{count} values' if count else f'at least {least} values' if least else 'a list of values'
        super().__init__(lambda values: is_list(values) and (len(values) == count if count else len(values) >= least),
                         f'{some}, each {of.wanted}')
        self.of = of

    def fault(self, value):
        items = enumerate(value if is_list(value) else ())
        faults = ((f'[{i}]', item, self.of.wanted) for i, item in items if not self.of.admits(item))
        return super().fault(value) or next(faults, None)


def within(least, most):
    """From `least` to `most`, both included."""
    return Bounds(lambda value: is_number(value) and least <= value <= most, f'{least} to {most}')


def at_least(least, below=None):
    """`least` or more, and less than `below`."""
    return Bounds(lambda value: is_number(value) and least <= value and (below is None or value < below),
                  f'{least} or more' + (f', below {below}' if below is not None else ''))


def above(limit, most=None):
    """More than `limit`, and at most `most`."""
    return Bounds(lambda value: is_number(value) and limit < value and (most is None or value <= most),
                  f'a number above {limit}' + (f', up to {most}' if most is not None else ''))


def whole(least, most):
    """A whole number. Needed only if the type of the default does not imply it."""
    return Bounds(lambda value: isinstance(value, Integral) and is_number(value) and least <= value <= most,
                  f'a whole number from {least} to {most}')


def one_of(*choices, any_case=False):
    """A Choice of these strings."""
    return Choice(choices, any_case)


def pair(of, optional=False):
    """[least, most], each within the bounds `of`; if `optional`, also []."""
    def admits(values):
        return is_list(values) and (optional and not values or len(values) == 2 and all(map(of.admits, values))
                                    and values[0] <= values[1])
    return Bounds(admits, f'{"[] or " * optional}[least, most], in this order, each {of.wanted}')


def rising(of):
    """A list of values within the bounds `of`, none smaller than the one before."""
    def admits(values):
        return is_list(values) and all(map(of.admits, values)) and list(values) == sorted(values)
    return Bounds(admits, f'values in rising order, each {of.wanted}')


def is_list(value):
    return isinstance(value, (list, tuple))


def is_number(value):
    """Whether it is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < float('inf')


TEXT = Bounds(lambda value: isinstance(value, str) and bool(value.strip()), 'a text that is not empty')
FILE_NAME = Bounds(lambda value: isinstance(value, str) and 0 < len(value) <= 100 and not set(value) & set('/\\\n') and
                   value not in ('.', '..'), 'a name that files may have: at most 100 letters, none of them / or \\')

SHARE, PART = within(0, 1), at_least(0, below=1)
# For networks: far more than anybody builds, but little enough to fit into memory.
CHANNELS, BLOCKS, KERNEL, MULTIPLIER = within(1, 65_536), within(1, 1000), within(1, 255), above(0, most=100)


def taken_apart(node, prefix=''):
    """Split a node whose values are `default` or `default, bounds`: (copy with defaults only, {dotted key: Bounds})."""
    plain, bounds = CN(), {}
    for key, value in node.items():
        if isinstance(value, CN):
            plain[key], below = taken_apart(value, f'{prefix}{key}.')
            bounds.update(below)
        elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Bounds):
            plain[key], bounds[f'{prefix}{key}'] = value
        else:
            plain[key] = value
    return plain, bounds


def check(key, value, bounds):
    """Raise UserError for a value out of its bounds. None as `bounds` admits everything."""
    fault = bounds and bounds.fault(value)
    if fault:
        place, found, wanted = fault
        raise UserError(f'{key}{place} is {brief(found)}; wanted {wanted}')


def brief(value):
    """The repr of a value, shortened if it is long."""
    return shortened(repr(value))


def shortened(text, most=_LONGEST):
    """A text for a message; of a long one only the beginning."""
    return text if len(text) <= most else f'{text[:most - 20]}... ({len(text)} letters)'
