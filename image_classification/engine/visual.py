"""Curves of a training for VisualDL or TensorBoard, beside metrics.jsonl."""
import importlib
import importlib.util

from image_classification.config import BOUNDS, check
from image_classification.errors import missing_package

PACKAGES = {'visualdl': 'visualdl', 'tensorboard': 'tensorboardX'}  # VISUAL: what has to be installed
_SHOWN = ('loss', 'lr', 'images_per_second', 'waiting', 'top1', 'top5')


def check_visual(kind):
    """Raise UserError where VISUAL is none of ours, or its package is not installed."""
    check('VISUAL', kind, BOUNDS['VISUAL'])
    if kind and importlib.util.find_spec(PACKAGES[kind]) is None:
        raise missing_package(f'VISUAL is {kind}, but the package {PACKAGES[kind]}', kind)


def open_visual(kind, directory, step):
    """What writes into <directory>/<kind>, on from `step` of a run that is resumed; without a kind, what writes nothing."""
    if not kind or directory is None:
        return NoVisual()
    package = importlib.import_module(PACKAGES[kind])
    if kind == 'visualdl':
        return Visual(package.LogWriter(logdir=str(directory / kind)))
    # The name has the second in which the file is begun; the step tells two that are begun in the same one apart.
    return Visual(package.SummaryWriter(str(directory / kind), purge_step=step + 1 if step else None, flush_secs=10,
                                        filename_suffix=f'.{step}' if step else ''))


class NoVisual:
    def add(self, kind, step=0, **values):
        """A row of metrics.jsonl; `kind` is train or eval."""

    def close(self):
        pass


class Visual(NoVisual):
    """Scalars train/loss, train/lr, ..., eval/top1 at each step that is reported."""

    def __init__(self, writer):
        self.writer = writer

    def add(self, kind, step=0, **values):
        for name in _SHOWN:
            if name in values:
                self.writer.add_scalar(f'{kind}/{name}', values[name], step)

    def close(self):
        self.writer.close()
