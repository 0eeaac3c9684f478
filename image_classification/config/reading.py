"""Parse the text of a yaml into nested dicts, and find the line of a key."""
import re

import yaml

from image_classification.config.bounds import brief, shortened
from image_classification.errors import UserError

_DEEPEST = 20                              # most levels of nested groups and lists
_MOST = 100_000                            # most keys and values that aliases such as `*name` may add
_KINDS = {f'tag:yaml.org,2002:{tag}': kind for tag, kind in (
    ('timestamp', 'date'), ('int', 'number'), ('float', 'number'), ('bool', 'switch'))}
_FAST = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)              # libyaml, if PyYAML has it, takes a sixth of the time
_ODD = re.compile(r'\\u[dD][89a-fA-F]')    # bytes of file names that are not UTF-8; libyaml refuses them


def _loader(text):
    return yaml.SafeLoader if _ODD.search(text) else _FAST


class NoYaml(UserError):
    """The text is not valid yaml."""


def parsed(text, source, any_case=False):
    """Parse a yaml.

    Args:
        source: name of the text in error messages.
        any_case: keys that differ only in case count as the same key.
    Raises:
        NoYaml: the text is not valid yaml.
        UserError: a key occurs twice, or groups are nested too deeply. The message has `source` and the line.
    """
    try:
        _check_depth(text, source)
        loader = _loader(text)(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Checks(source, len(text), str.upper if any_case else str).node(node)
            bad = _unreadable(loader, node)
            if bad is not None:
                raise NoYaml(f'{source}, line {bad.start_mark.line + 1}: {brief(bad.value)} is no {_KINDS[bad.tag]}; wanted '
                             'one, or a text in quotation marks')
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        reason = ' '.join(str(error).split()).replace(' in "<unicode string>",', ',')
        raise NoYaml(f'{source} cannot be read as yaml: {reason[:500]}') from None


def _unreadable(loader, node):
    """The first scalar that looks like a date or a number but is not valid, such as 2020-13-45; None if there is none."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag in _KINDS:
            try:
                loader.construct_object(node)
            except (ValueError, OverflowError, AttributeError, KeyError):      # the last two: from `!!bool x` and the like
                return node
        return None
    below = (item for entry in node.value for item in (entry if isinstance(entry, tuple) else (entry,)))
    return next((bad for child in below if (bad := _unreadable(loader, child)) is not None), None)


def _check_depth(text, source):
    """Check the depth of nesting by events, which need no recursion. (Nodes, which are built later, do.)"""
    depth = 0
    for event in yaml.parse(text, Loader=_loader(text)):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
            if depth > _DEEPEST:
                raise _too_deep(source, event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1


def _too_deep(source, event):
    return UserError(f'{source}, line {event.start_mark.line + 1}: more than {_DEEPEST} groups or lists within each other; '
                     'wanted groups of keys such as "TRAIN:", with values')


class _Checks:
    """Raises UserError for duplicate keys, and for aliases that multiply without end."""

    def __init__(self, source, length, word):
        self.source, self.most, self.word = source, _MOST + length, word
        self.known = {}                    # {node: (keys and values in it, its depth)}, because `*name` repeats a node

    def node(self, node, depth=0, prefix=''):
        """Check a node. Returns its entry in `known`."""
        if isinstance(node, yaml.ScalarNode):
            return 1, 0
        size, height = self.known.get(node, (None, 0))
        if depth + height >= _DEEPEST:
            raise _too_deep(self.source, node)
        if size is None:
            if isinstance(node, yaml.MappingNode):
                self.keys(node, prefix)
                children = [(child, f'{prefix}{key.value}.') for key, child in node.value]
            else:
                children = [(child, prefix) for child in node.value]
            found = [self.node(child, depth + 1, name) for child, name in children]
            size, height = 1 + sum(count for count, _ in found), 1 + max((below for _, below in found), default=0)
            if size > self.most:
                raise UserError(f'{self.source}, line {node.start_mark.line + 1}: {size} values, most of them by names such as '
                                '*name that repeat others; wanted fewer')
            self.known[node] = size, height
        return size, height

    def keys(self, node, prefix):
        lines = {}                                                 # {key seen: its line}
        for key, _ in node.value:
            word, line = self.word(str(key.value)), key.start_mark.line + 1
            if word in lines:
                raise UserError(f'{self.source}, line {line}: {shortened(prefix + str(key.value))} is there twice, first on '
                                f'line {lines[word]}; wanted it once, with all that belongs to it')
            lines[word] = line


def line_of(text, key, exact=False):
    """Line number of a dotted key in a yaml.

    If the key is not there, the line of the innermost group around it; 0 if there is no such group, or with `exact`.
    """
    node, line = yaml.compose(text, Loader=_loader(text)), 0
    for part in key.split('.'):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((name, child) for name, child in pairs if str(name.value).upper() == part.upper()), None)
        if not found:
            return 0 if exact else line
        node, line = found[1], found[0].start_mark.line + 1
    return line
