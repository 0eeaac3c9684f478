"""Command-line options of all commands: accepted spellings, and bounds of their values."""
import argparse
import difflib
import os
import sys

from image_classification import installation
from image_classification.config.bounds import TEXT, Bounds, above, brief, shortened, whole, within
from image_classification.config.defaults import BOUNDS
from image_classification.errors import UserError

# Bounds of options that several commands have. THREADS has a limit because ONNX Runtime and Paddle deadlock with many more
# threads than processors, and the process dies with 100,000.
THREADS = whole(1, max(16, 4 * (os.cpu_count() or 1)))
PORT = within(0, 65535)
HOST = Bounds(lambda value: isinstance(value, str) and bool(value.strip()),
              'an address, e.g. 127.0.0.1 for this machine alone, or 0.0.0.0 for all that reach it')
SECONDS = above(0, most=86_400)            # a day
MINUTES = above(0, most=527_040)           # a year
MEBIBYTES = above(0, most=1_048_576)       # a tebibyte
MEGABYTES = above(0, most=1_000_000)
PIXELS = within(1, 10_000_000_000)         # in a picture
IMAGES = within(1, 1_000_000_000)          # in a data set
ALL_OR_SOME = within(0, 1_000_000_000)     # images of a data set; 0: all
CLASSES = BOUNDS['MODEL.NUM_CLASSES']
BATCH = whole(1, 65_536)                   # images per batch
TURNS = within(1, 100_000)                 # repetitions of a timing

PAIRS = '-opts'


class Parser(argparse.ArgumentParser):
    """An argparse parser with these differences:

    - Options can be written with one dash or two, and with hyphens or underscores: -batch_size is --batch-size.
    - `add_argument(..., bounds=...)` sets bounds for the value, or for each value in a list. Without bounds, an option for
      a string refuses an empty one, which a shell makes of "$A_NAME_THAT_IS_NOT_SET".
    - If there is an option -opts, its pairs of words end at the next option.
    - The usage of a sub-command of `mobile-backbones` starts with that command.
    """

    def __init__(self, prog=None, **keywords):
        super().__init__(prog or installation.typed or None, **keywords)

    def add_argument(self, *names, bounds=None, **keywords):
        action = super().add_argument(*names, **keywords)
        action.bounds = bounds
        return action

    def parse_known_args(self, args=None, namespace=None):
        """As in argparse. Raises UserError for a value out of bounds, and for a key after -opts without a value."""
        words = self._as_declared(map(str, sys.argv[1:] if args is None else args))
        words, pairs = self._pairs_apart(words)
        namespace, unknown = super().parse_known_args(words, namespace)
        if pairs:
            setattr(namespace, PAIRS.strip('-'), pairs)
        for action in self._actions:
            bounds, values = _bounds_of(action), getattr(namespace, action.dest, None)
            for value in values if isinstance(values, list) else [values]:
                if bounds and value is not None and not bounds.admits(value):
                    raise UserError(f'{(action.option_strings or [action.dest])[0]} is {brief(value)}; wanted {bounds.wanted}')
        return namespace, unknown

    def error(self, message):
        """As in argparse; for an unknown option, the message also names the nearest known one."""
        unknown = message.partition('unrecognized arguments: ')[2].split(' ')[0]
        known = {_plain(name): name for name in self._option_string_actions}
        near = difflib.get_close_matches(_plain(unknown), known, n=1) if unknown.startswith('-') else ()
        super().error(shortened(message, 300) + ''.join(f'; the nearest option is {known[name]}' for name in near))

    def _as_declared(self, words):
        """The words, with options in their declared spelling. Words after `--` are left as they are: none is an option."""
        words, known = list(words), {_plain(name): name for name in self._option_string_actions}
        end = words.index('--') if '--' in words else len(words)
        for i, word in enumerate(words[:end]):
            name, equals, value = word.partition('=')
            if word.startswith('-') and name not in self._option_string_actions:
                words[i] = known.get(_plain(name), name) + equals + value
        return words

    def _pairs_apart(self, words):
        """(other words, words that belong to -opts). These end at a word with a dash, which is the next option, not a key."""
        if PAIRS not in self._option_string_actions:
            return words, []
        others, pairs, i = [], [], 0
        while i < len(words):
            if words[i] != PAIRS:
                others.append(words[i])
                i += 1
                continue
            i += 1
            while i < len(words) and not words[i].startswith('-'):
                key, *value = words[i:i + 2]
                if not value or value[0].partition('=')[0] in self._option_string_actions:
                    before = f', before {value[0]}' if value else ''
                    raise UserError(f'{PAIRS} has no value for {brief(key)}{before}; wanted pairs of KEY VALUE, e.g. {PAIRS} '
                                    'TRAIN.BASE_LR 1e-3')
                pairs += words[i:i + 2]
                i += 2
        return others, pairs


def _bounds_of(action):
    plain_text = action.option_strings and action.type is None and action.nargs is None and action.default != ''
    return getattr(action, 'bounds', None) or (TEXT if plain_text else None)


def _plain(name):
    return name.lstrip('-').replace('-', '_')
