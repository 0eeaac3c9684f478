"""A progress bar for everything that takes long. It is shown on a terminal only, not in logs and pipes."""
import shutil
import sys

from tqdm import tqdm


def progress_bar(iterable=None, total=None, label=None, enabled=True, **options):
    """A tqdm bar on stderr. A terminal of unknown size is treated as 80 x 24."""
    size = shutil.get_terminal_size()
    return tqdm(iterable, label, total, disable=None if enabled else True, file=sys.stderr, ncols=size.columns,
                nrows=size.lines, **options)
