"""The directory that a run writes to, and the checkpoint that it resumes from."""
import re
from datetime import datetime
from pathlib import Path

from image_classification.checkpoint import read_checkpoint, set_aside
from image_classification.config import differences
from image_classification.engine.processes.distributed import Group
from image_classification.errors import UserError
from image_classification.files import remove_halves, unused, write_atomically

LAST = 'last.safetensors'
_LASTS = re.compile(r'last(-\d+)?\.safetensors')   # the last checkpoint, the one before, ...: see KEEP_CHECKPOINTS


def changes(checkpoint, cfg):
    """[(key, the checkpoint's value, the configuration's value)], without RESUME, which is new at every start."""
    return [change for change in differences(checkpoint.cfg, cfg) if change[0] != 'RESUME']


def new_run_directory(cfg):
    """Create a new directory <SAVE>/<train|eval>-<model>-<time>."""
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


def run_directory(cfg, checkpoint, take=lambda directory: None):
    """The run directory: the checkpoint's own when resuming from its last checkpoint, otherwise a new one.

    Resuming from an earlier checkpoint creates a new directory, so that the later part of the old run is kept. In a reused
    directory, damaged checkpoints are renamed, and files that were half written when the run was killed are deleted. The
    configuration is written to the directory; if it differs from the checkpoint's, it is written beside the first one.
    Args:
        take: called with a new directory, to lock it. A reused one has been locked by `find_checkpoint`.
    """
    if checkpoint and is_last(checkpoint.path):
        directory = checkpoint.path.parent
        for path, _ in checkpoint.damaged:
            if path.parent == directory:
                set_aside(path)
        for path in directory.glob('.*.tmp'):
            path.unlink()
        if changes(checkpoint, cfg):
            _write_config(unused(directory / 'config.yaml'), cfg)
        return directory
    directory = new_run_directory(cfg)
    take(directory)
    for other in directory.parent.iterdir():                       # earlier runs may have been killed
        remove_halves(other)
    _write_config(directory / 'config.yaml', cfg)
    return directory


def _write_config(path, cfg):
    write_atomically(path, lambda file: file.write_text(cfg.dump(), encoding='utf-8'), 'Choose another -output.')


def earlier_lasts(keep):
    """Names of the checkpoints before last.safetensors, if `keep` are kept in all: see KEEP_CHECKPOINTS."""
    return [f'last-{n}.safetensors' for n in range(1, keep)]


def is_last(path):
    """Whether the name is that of a run's last checkpoints, from which the run resumes in its own directory."""
    return bool(_LASTS.fullmatch(path.name))


def has_last(directory):
    """Whether a run can be resumed in this directory."""
    return any(is_last(path) for path in Path(directory).glob('*.safetensors'))


def find_checkpoint(cfg, group=Group(), take=lambda directory: None):
    """The checkpoint for RESUME, the same in all processes; None for 'auto' if there is no checkpoint yet.

    For a run directory, it is the newest complete checkpoint in it; for 'auto', the newest of all runs of this model. Newer
    ones that are damaged are listed in `Checkpoint.damaged`.
    Args:
        take: called with the directory of a run that may be resumed, to lock it before anything in it is read.
    Raises:
        UserError: there is no checkpoint, the named file is damaged, or all checkpoints found are damaged.
    """
    # Only RESUME of the main process counts: after a restart, only its supervisor knows the run directory.
    checkpoint = _newest(cfg, take) if group.is_main and cfg.RESUME else None
    path, = group.gather_objects(checkpoint and str(checkpoint.path))[:1]
    if path and not group.is_main:
        checkpoint = read_checkpoint(path)                         # all machines have the same -output
    return checkpoint


def _newest(cfg, take):
    resume = Path(cfg.RESUME)
    if cfg.RESUME != 'auto' and not resume.is_dir():
        if is_last(resume) and resume.is_file():
            take(resume.parent)
        return read_checkpoint(resume)
    directories = Path(cfg.SAVE).glob(f'train-{cfg.MODEL.NAME}-*') if cfg.RESUME == 'auto' else [resume]
    files = [path for directory in directories for path in directory.glob('last*.safetensors') if is_last(path)]
    if not files and cfg.RESUME != 'auto':
        raise UserError(f'no checkpoint in {resume}; wanted {LAST}, as a training writes it, or the path of another one')
    damaged = []
    for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name == LAST), reverse=True):
        take(path.parent)
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
