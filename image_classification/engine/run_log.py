"""The log of a run, its metrics, and its progress bar on the terminal."""
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

_FULL_DISK = 'Free some space, then continue with -resume auto.'


class RunLog:
    """Writes lines to the terminal and to log.txt, metrics to metrics.jsonl and `visual`, and shows a progress bar.

    Without a directory, as in all processes but the main one, it is silent. `reader_gone` becomes True when the reader of the
    output has closed the pipe, as `| head` does. A closed terminal changes nothing, because log.txt has all lines.
    """

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
        """Write a line to log.txt only."""
        self._append('log.txt', f'{datetime.now():%Y-%m-%d %H:%M:%S} {text}\n')

    def append(self, name, *rows):
        """Append a line of JSON per row to the file `name`."""
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
        """Remove from metrics.jsonl what a killed run wrote after its last checkpoint, because the resumed run writes it again.

        The checkpoint is from step `step`; unless `evaluated`, it is from before the evaluation of that step.
        """
        path = self.directory / 'metrics.jsonl' if self.directory else None
        if path is None or not path.is_file():
            return
        lines, last = path.read_text(encoding='utf-8').splitlines(), (step, 2 if evaluated else 1)
        kept = [line for line in lines if _place(line) <= last]
        if kept != lines:
            text = ''.join(f'{line}\n' for line in kept)
            write_atomically(path, lambda temporary: temporary.write_text(text, encoding='utf-8'), _FULL_DISK)

    def time_left(self, step):
        """Time from the end of step `step` to the last step, as hours:minutes:seconds, at the pace since this process began."""
        return tqdm.format_interval((time.monotonic() - self.begin) / max(step - self.done, 1) * max(self.total - step, 0))

    def step(self, epoch, loss, rate, meter):
        """Move the bar by a step.

        Args:
            loss: a tensor. It is read at most once a second, because reading waits for the GPU.
            meter: returns (images/s, share of time spent waiting for data).
        """
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
    """Sort key of a line of metrics.jsonl: (step, 1 for training or 2 for evaluation). A half-written line, which a kill may
    leave, sorts after all others."""
    try:
        row = json.loads(line)
        return row.get('step', 0), 2 if row.get('kind') == 'eval' else 1
    except (json.JSONDecodeError, AttributeError):
        return float('inf'), 0
