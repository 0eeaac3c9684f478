"""A run's directory, its log, its metrics, and the line on the terminal."""
import json
import re
import sys
import time
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from image_classification.config import differences
from image_classification.checkpoint import read_checkpoint, set_aside
from image_classification.engine.processes.distributed import Group
from image_classification.engine.introduction import NOT_COMPARED
from image_classification.engine.visual import NoVisual
from image_classification.errors import UserError
from image_classification.files import unused, write_atomically
from image_classification.progress import progress_bar

LAST = 'last.safetensors'
_LASTS = re.compile(r'last(-\d+)?\.safetensors')   # the last checkpoint, the one before, ...: see KEEP_CHECKPOINTS
_FULL_DISK = 'Free some space, and go on by -resume auto.'


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

    An earlier checkpoint of a run starts a new directory, so that the run's later part stays. In the directory of a run that
    goes on, what was damaged is renamed, and what was being written when the run was killed is deleted; a configuration that
    is not the checkpoint's is written beside the first one.
    """
    if checkpoint and is_last(checkpoint.path):
        directory = checkpoint.path.parent
        for path, _ in checkpoint.damaged:
            if path.parent == directory:
                set_aside(path)
        for path in directory.glob('.*.tmp'):
            path.unlink()
        if any(key not in NOT_COMPARED for key, _, _ in differences(checkpoint.cfg, cfg)):
            unused(directory / 'config.yaml').write_text(cfg.dump(), encoding='utf-8')
        return directory
    directory = new_run_directory(cfg)
    (directory / 'config.yaml').write_text(cfg.dump(), encoding='utf-8')
    return directory


def earlier_lasts(keep):
    """Names of the last checkpoints but one, of which `keep` are kept: see KEEP_CHECKPOINTS."""
    return [f'last-{n}.safetensors' for n in range(1, keep)]


def is_last(path):
    """Whether a checkpoint's name says that a run goes on from it in its own directory."""
    return bool(_LASTS.fullmatch(path.name))


def find_checkpoint(cfg, group=Group()):
    """The checkpoint that MODEL.RESUME means, the same one in all processes; None for 'auto' where there is none yet.

    Of a run's directory, and for 'auto' of all runs of this model, it is the newest that is complete; the damaged ones that
    were passed over are in `Checkpoint.damaged`.
    Raises:
        UserError: no checkpoint there; the file that was named, or every one of those found, is damaged.
    """
    # The main process's MODEL.RESUME counts: after a new start, only its supervisor knows the run's directory.
    checkpoint = _newest(cfg) if group.is_main and cfg.MODEL.RESUME else None
    path, = group.gather_objects(checkpoint and str(checkpoint.path))[:1]
    if path and not group.is_main:
        checkpoint = read_checkpoint(path)                         # all machines have the same -output
    return checkpoint


def _newest(cfg):
    resume = Path(cfg.MODEL.RESUME)
    if cfg.MODEL.RESUME != 'auto' and not resume.is_dir():
        return read_checkpoint(resume)
    directories = Path(cfg.SAVE).glob(f'train-{cfg.MODEL.NAME}-*') if cfg.MODEL.RESUME == 'auto' else [resume]
    files = [path for directory in directories for path in directory.glob('last*.safetensors') if is_last(path)]
    if not files and cfg.MODEL.RESUME != 'auto':
        raise UserError(f'no checkpoint in {resume}; wanted {LAST}, as a training writes it, or the path of another one')
    damaged = []
    for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name == LAST), reverse=True):
        try:
            checkpoint = read_checkpoint(path)
        except UserError as error:
            damaged.append((path, str(error)))
            continue
        checkpoint.damaged = damaged
        return checkpoint
    if damaged:
        raise UserError(f'none of the {len(damaged)} checkpoints can be read: {damaged[0][1]} To start afresh, leave -resume '
                        'out or choose another -output.')
    return None


class RunLog:
    """Lines on the terminal and in log.txt, dicts in metrics.jsonl and `visual`, a progress bar. In other processes than the
    main one, and without a directory, it keeps silent."""

    def __init__(self, directory, total_steps=0, done_steps=0, visual=NoVisual()):
        self.directory, self.visual = directory, visual
        self.total, self.done, self.begin = total_steps, done_steps, time.monotonic()
        self.bar = progress_bar(total=total_steps, initial=done_steps, enabled=bool(directory and total_steps),
                                bar_format='{desc}{n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}')
        self.shown = 0.0

    def line(self, text):
        if self.directory is None:
            return
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()
        self.write(text)

    def metrics(self, **values):
        self.append('metrics.jsonl', values)
        self.visual.add(**values)

    def write(self, text):
        """A line in log.txt only."""
        self._append('log.txt', f'{datetime.now():%Y-%m-%d %H:%M:%S} {text}\n')

    def append(self, name, *rows):
        """A line of JSON per row, at the end of the file `name`."""
        self._append(name, ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows))

    def _append(self, name, text):
        if self.directory is None:
            return
        try:
            with open(self.directory / name, 'a', encoding='utf-8', errors='surrogateescape') as file:
                file.write(text)
        except OSError as error:
            raise UserError(f'cannot write {self.directory / name}: {error.strerror}. {_FULL_DISK}') from None

    def forget_after(self, step):
        """Take out of metrics.jsonl what a killed run has written after its last checkpoint: it comes once more."""
        path = self.directory / 'metrics.jsonl' if self.directory else None
        if path is None or not path.is_file():
            return
        lines = path.read_text(encoding='utf-8').splitlines()
        kept = [line for line in lines if _step(line) <= step]
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


def _step(line):
    """The step of a line of metrics.jsonl; infinite for half a line, which a kill leaves behind."""
    try:
        return json.loads(line).get('step', 0)
    except json.JSONDecodeError:
        return float('inf')
