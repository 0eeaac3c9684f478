"""The progress bar of everything that takes long: on a terminal only, and gone from logs and pipes."""
import shutil
import sys

from tqdm import tqdm


def progress_bar(iterable=None, total=None, label=None, enabled=True, **options):
    """A tqdm bar on stderr. A terminal that does not tell its size is taken for one of 80 x 24."""
    size = shutil.get_terminal_size()
    return tqdm(iterable, label, total, disable=None if enabled else True, file=sys.stderr, ncols=size.columns,
                nrows=size.lines, **options)
