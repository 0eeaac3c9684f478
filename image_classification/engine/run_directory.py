"""Where a run writes, and which checkpoint it goes on from."""
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
    """[(key, the checkpoint's value, the configuration's)], without RESUME, which every start sets anew."""
    return [change for change in differences(checkpoint.cfg, cfg) if change[0] != 'RESUME']


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


def run_directory(cfg, checkpoint, take=lambda directory: None):
    """Where a training writes: on in the directory of a run's last checkpoint, else in a new one, with the configuration.

    An earlier checkpoint of a run starts a new directory, so that the run's later part stays. In the directory of a run that
    goes on, what was damaged is renamed, and what was being written when the run was killed is deleted; a configuration that
    is not the checkpoint's is written beside the first one.

    Args:
        take: is called with the new directory; that of a run that goes on was taken by `find_checkpoint`.
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
    for other in directory.parent.iterdir():                       # runs that were killed, and that nobody goes on with
        remove_halves(other)
    _write_config(directory / 'config.yaml', cfg)
    return directory


def _write_config(path, cfg):
    write_atomically(path, lambda file: file.write_text(cfg.dump(), encoding='utf-8'), 'Choose another -output.')


def earlier_lasts(keep):
    """Names of the last checkpoints but one, of which `keep` are kept: see KEEP_CHECKPOINTS."""
    return [f'last-{n}.safetensors' for n in range(1, keep)]


def is_last(path):
    """Whether a checkpoint's name says that a run goes on from it in its own directory."""
    return bool(_LASTS.fullmatch(path.name))


def has_last(directory):
    """Whether a run can go on in this directory."""
    return any(is_last(path) for path in Path(directory).glob('*.safetensors'))


def find_checkpoint(cfg, group=Group(), take=lambda directory: None):
    """The checkpoint that RESUME means, the same one in all processes; None for 'auto' where there is none yet.

    Of a run's directory, and for 'auto' of all runs of this model, it is the newest that is complete; the damaged ones that
    were passed over are in `Checkpoint.damaged`.
    Args:
        take: is called with the directory of a run that would go on, before anything of it is read.
    Raises:
        UserError: no checkpoint there; the file that was named, or every one of those found, is damaged.
    """
    # The main process's RESUME counts: after a new start, only its supervisor knows the run's directory.
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
