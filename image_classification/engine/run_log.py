"""The log of a run, its metrics, and the line on the terminal."""
import json
import sys
import time
from datetime import datetime

from tqdm import tqdm

from image_classification.engine.visual import NoVisual
from image_classification.errors import UserError, forget_readers
from image_classification.files import write_atomically
from image_classification.names.text import as_json, for_stream
from image_classification.progress import progress_bar

_FULL_DISK = 'Free some space, and go on by -resume auto.'


class RunLog:
    """Lines on the terminal and in log.txt, dicts in metrics.jsonl and `visual`, a progress bar. In other processes than the
    main one, and without a directory, it keeps silent. `reader_gone` becomes True where nobody reads the lines any more, as
    behind `| head`; that a terminal is closed changes nothing: log.txt has the lines."""

    def __init__(self, directory, total_steps=0, done_steps=0, visual=NoVisual()):
        self.directory, self.visual = directory, visual
        self.total, self.done, self.begin = total_steps, done_steps, time.monotonic()
        self.bar = progress_bar(total=total_steps, initial=done_steps, enabled=bool(directory and total_steps),
                                bar_format='{desc}{n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}')
        self.shown, self.reader_gone = 0.0, False

    def line(self, text):
        if self.directory is None:
            return
        try:
            tqdm.write(for_stream(text, sys.stdout), file=sys.stdout)
            sys.stdout.flush()
        except OSError as error:
            self.reader_gone = self.reader_gone or isinstance(error, BrokenPipeError)
            forget_readers()
        self.write(text)

    def metrics(self, **values):
        self.append('metrics.jsonl', values)
        self.visual.add(**values)

    def write(self, text):
        """A line in log.txt only."""
        self._append('log.txt', f'{datetime.now():%Y-%m-%d %H:%M:%S} {text}\n')

    def append(self, name, *rows):
        """A line of JSON per row, at the end of the file `name`."""
        self._append(name, ''.join(as_json(row) + '\n' for row in rows))

    def _append(self, name, text):
        if self.directory is None:
            return
        try:
            with open(self.directory / name, 'a', encoding='utf-8', errors='surrogateescape') as file:
                file.write(text)
        except OSError as error:
            raise UserError(f'cannot write {self.directory / name}: {error.strerror}. {_FULL_DISK}') from None

    def forget_after(self, step, evaluated=True):
        """Take out of metrics.jsonl what a killed run has written after its last checkpoint: it comes once more. The checkpoint
        is of step `step` and, unless `evaluated`, of before its evaluation."""
        path = self.directory / 'metrics.jsonl' if self.directory else None
        if path is None or not path.is_file():
            return
        lines, last = path.read_text(encoding='utf-8').splitlines(), (step, 2 if evaluated else 1)
        kept = [line for line in lines if _place(line) <= last]
        if kept != lines:
            text = ''.join(f'{line}\n' for line in kept)
            write_atomically(path, lambda temporary: temporary.write_text(text, encoding='utf-8'), _FULL_DISK)

    def time_left(self, step):
        """hours:minutes:seconds to the last step, at the pace since this process has begun; for the end of step `step`."""
        return tqdm.format_interval((time.monotonic() - self.begin) / max(step - self.done, 1) * max(self.total - step, 0))

    def step(self, epoch, loss, rate, meter):
        """Move the bar by a step. `loss` is a tensor, read at most once a second: reading waits for the GPU. `meter` gives
        (images/s, share of time that waits for data)."""
        self.bar.update(1)
        if not self.bar.disable and time.monotonic() - self.shown > 1.0:
            self.shown = time.monotonic()
            speed, waiting = meter()
            self.bar.set_description_str(f'epoch {epoch} ', refresh=False)
            self.bar.set_postfix_str(f'loss {loss.item():.3f}, lr {rate:.3g}, {speed:.0f} images/s, wait {waiting:.0%}',
                                     refresh=False)

    def close(self):
        self.bar.close()
        self.visual.close()


def _place(line):
    """(step, 1 for a training's line, 2 for an evaluation's behind it) of a line of metrics.jsonl; behind all others for half a
    line, which a kill leaves."""
    try:
        row = json.loads(line)
        return row.get('step', 0), 2 if row.get('kind') == 'eval' else 1
    except (json.JSONDecodeError, AttributeError):
        return float('inf'), 0
