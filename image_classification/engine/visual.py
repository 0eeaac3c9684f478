"""Write curves of a training for VisualDL or TensorBoard, in addition to metrics.jsonl."""
import importlib
import importlib.util

from image_classification.config import BOUNDS, check
from image_classification.errors import missing_package

PACKAGES = {'visualdl': 'visualdl', 'tensorboard': 'tensorboardX'}  # value of VISUAL: package that it needs
_SHOWN = ('loss', 'lr', 'images_per_second', 'waiting', 'top1', 'top5')


def check_visual(kind):
    """Raise UserError if VISUAL is unknown, or its package is not installed."""
    check('VISUAL', kind, BOUNDS['VISUAL'])
    if kind and importlib.util.find_spec(PACKAGES[kind]) is None:
        raise missing_package(f'VISUAL is {kind}, but the package {PACKAGES[kind]}', kind)


def open_visual(kind, directory, step):
    """A writer for <directory>/<kind>, which continues after `step` in a resumed run. Without a kind, it writes nothing."""
    if not kind or directory is None:
        return NoVisual()
    package = importlib.import_module(PACKAGES[kind])
    if kind == 'visualdl':
        return Visual(package.LogWriter(logdir=str(directory / kind)))
    # The file name has the second of its creation. The step distinguishes two files created within the same second.
    return Visual(package.SummaryWriter(str(directory / kind), purge_step=step + 1 if step else None, flush_secs=10,
                                        filename_suffix=f'.{step}' if step else ''))


class NoVisual:
    def add(self, kind, step=0, **values):
        """Add a row of metrics.jsonl; `kind` is train or eval."""

    def close(self):
        pass


class Visual(NoVisual):
    """Writes scalars train/loss, train/lr, ..., eval/top1 at each reported step."""

    def __init__(self, writer):
        self.writer = writer

    def add(self, kind, step=0, **values):
        for name in _SHOWN:
            if name in values:
                self.writer.add_scalar(f'{kind}/{name}', values[name], step)

    def close(self):
        self.writer.close()
