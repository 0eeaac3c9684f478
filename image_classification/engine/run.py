"""A run's directory, its log, its metrics, and the line on the terminal."""
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from image_classification.engine.checkpoint import read_checkpoint
from image_classification.errors import UserError
from image_classification.progress import progress_bar

LAST, BEST = 'last.safetensors', 'best.safetensors'


def new_run_directory(cfg):
    """A directory that did not exist before: <SAVE>/<train|eval>-<model>-<time>."""
    name = f'{"eval" if cfg.EVAL else "train"}-{cfg.MODEL.NAME}-{datetime.now():%Y%m%d-%H%M%S}'
    for suffix in ('', *(f'-{n}' for n in range(2, 1000))):
        path = Path(cfg.SAVE) / f'{name}{suffix}'
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f'cannot make the directory {path}: {error.strerror}. Choose another -output.') from None
    raise UserError(f'{cfg.SAVE} has a thousand runs of this second')


def run_directory(cfg, checkpoint):
    """Where a training writes: on in the directory of a run's last checkpoint, else in a new one, with the configuration.

    An earlier checkpoint of a run starts a new directory, so that the run's later part stays.
    """
    if checkpoint and checkpoint.path.name == LAST:
        return checkpoint.path.parent
    directory = new_run_directory(cfg)
    (directory / 'config.yaml').write_text(cfg.dump(), encoding='utf-8')
    return directory


def find_checkpoint(cfg):
    """The checkpoint that MODEL.RESUME means, or None for 'auto' where there is none yet."""
    if not cfg.MODEL.RESUME:
        return None
    if cfg.MODEL.RESUME != 'auto':
        return read_checkpoint(cfg.MODEL.RESUME)
    files = sorted(Path(cfg.SAVE).glob(f'train-{cfg.MODEL.NAME}-*/{LAST}'), key=os.path.getmtime)
    return read_checkpoint(files[-1]) if files else None


class RunLog:
    """Lines on the terminal and in log.txt, dicts in metrics.jsonl, a progress bar. In other processes than the main one, and
    without a directory, it keeps silent."""

    def __init__(self, directory, total_steps=0, done_steps=0):
        self.directory = directory
        self.bar = progress_bar(total=total_steps, initial=done_steps, enabled=bool(directory and total_steps),
                                bar_format='{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]')
        self.shown = 0.0

    def line(self, text):
        if self.directory is None:
            return
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()
        with open(self.directory / 'log.txt', 'a', encoding='utf-8') as file:
            file.write(f'{datetime.now():%Y-%m-%d %H:%M:%S} {text}\n')

    def metrics(self, **values):
        if self.directory is None:
            return
        with open(self.directory / 'metrics.jsonl', 'a', encoding='utf-8') as file:
            file.write(json.dumps(values) + '\n')

    def step(self, epoch, loss, images_per_second):
        """Move the bar by a step. `loss` is a tensor, read at most once a second: reading waits for the GPU."""
        self.bar.update(1)
        if not self.bar.disable and time.monotonic() - self.shown > 1.0:
            self.shown = time.monotonic()
            self.bar.set_description_str(f'epoch {epoch}', refresh=False)
            self.bar.set_postfix_str(f'loss {loss.item():.3f}, {images_per_second():.0f} images/s', refresh=False)

    def close(self):
        self.bar.close()
