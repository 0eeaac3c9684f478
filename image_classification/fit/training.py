"""Run the trainer for a fit: write its yaml and its list of pictures, start its process, watch it, and end it in time."""
import contextlib
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from image_classification.config.loading import nested
from image_classification.cpu.settings import usable_cores
from image_classification.engine.best import BEST
from image_classification.engine.processes.distributed import gpu_count
from image_classification.engine.processes.stop_signals import STOPPED, StopSignals
from image_classification.engine.report import read_metrics
from image_classification.engine.run_directory import LAST
from image_classification.errors import UserError, ends_with_parent
from image_classification.files import write_atomically
from image_classification.fit.plan import recipe
from image_classification.fit.split import write_list
from image_classification.progress import progress_bar
from image_classification.weights.catalogue import PREPROCESSING

RECIPE, OUTPUT, RUNS = 'fit.yaml', 'training.txt', 'runs'
LAUNCHER = Path(__file__).resolve().parents[1] / 'main_multi_gpu.py'
_MOST_PROCESSES = 4                                                # on a CPU: each holds a network and its feature maps
_LOOK = 0.5                                                        # seconds between readings of the metrics
_GRACE = 15.0                                                      # seconds that a trainer gets to end by itself


@dataclass
class Trained:
    """The result of a training."""
    paths: list                            # its last and its best checkpoint, if they exist
    whole: bool                            # whether it ran to its end


def process_count():
    """Number of training processes: one per GPU or, without GPUs, one per core, at most four."""
    return gpu_count() or min(usable_cores(), _MOST_PROCESSES)


def write_recipe(directory, plan, network_cfg, training, head, seed):
    """Write fit.yaml, a configuration for main_multi_gpu.py and main_single_gpu.py, and the list of its training pictures.

    Args:
        directory: directory of the fit; its folder `pictures` has the other lists.
        training: the available training pictures.
        head: a weights file to start from, or None.
    """
    lists, classes = directory / 'pictures', network_cfg.MODEL.NUM_CLASSES
    write_list(lists, 'train', balanced(evenly(training, plan.images, seed), classes, seed))
    keys = recipe(plan, bool(head))
    keys.update({'DATA.DATASET': 'imagenet2012', 'DATA.DATA_PATH': str(lists.resolve()), 'SEED': seed,
                 'MODEL.NUM_CLASSES': classes, 'SAVE': str((directory / RUNS).resolve())})
    keys.update({f'DATA.{key}': list(value) if isinstance(value, (list, tuple)) else value for key, value in network_cfg.DATA.items()
                 if key in PREPROCESSING - {'IMAGE_SIZE'}})
    if head:
        keys['PRETRAINED'] = str(head.resolve())
    flag = f' -ngpus {plan.processes}' if gpu_count() else ''
    if not gpu_count():
        keys.update({'PROCESSES': plan.processes, 'THREADS': 1})
    text = f'# What fit has trained. To repeat it: python image_classification/main_multi_gpu.py -cfg THIS_FILE{flag}\n'
    text += yaml.safe_dump({'BASE': [network_cfg.MODEL.NAME], **nested(keys)}, sort_keys=False, allow_unicode=True)
    write_atomically(directory / RECIPE, lambda file: file.write_text(text, encoding='utf-8'))


def train(directory, plan, deadline, say):
    """Run the trainer with the fit.yaml of `directory` until it ends or `deadline` (in time.monotonic) has come.

    Its output goes to training.txt. Ctrl-C has the effect of the deadline: the trainer saves, and its result so far is used.
    SIGTERM and SIGHUP end the trainer and then this process.
    Returns:
        `Trained`.
    Raises:
        UserError: the trainer failed; the message has its reason.
    """
    command = [sys.executable, str(LAUNCHER), '-cfg', str(directory / RECIPE), '-ngpus', str(plan.processes)]
    with open(directory / OUTPUT, 'wb') as output:
        # In a session of its own, the trainer gets one signal per Ctrl-C, from this process.
        trainer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True, preexec_fn=ends_with_parent(signal.SIGINT))
    try:
        code = _watch(trainer, directory, plan, deadline, say)
    finally:
        _end(trainer)
    lines = (directory / OUTPUT).read_text(encoding='utf-8', errors='replace').splitlines()
    reason = next((line for line in reversed(lines) if line.strip()), 'it said nothing').removeprefix('error: ')
    # Interrupted while it starts up, Python dies of the signal or prints KeyboardInterrupt.
    if code not in {0, *STOPPED, -signal.SIGINT} and reason != 'KeyboardInterrupt':
        raise UserError(f'the training has failed (exit code {code}): {reason}. All that it said is in {directory / OUTPUT}')
    return Trained([path for name in (LAST, BEST) for path in (directory / RUNS).glob(f'*/{name}')], code == 0)


def _watch(trainer, directory, plan, deadline, say):
    """Report the trainer's progress by lines and a progress bar. Returns its exit code."""
    stopped, told = False, 0
    with progress_bar(total=plan.steps(), label='training') as bar, \
            StopSignals('ending the training', lambda number: trainer.send_signal(signal.SIGINT)) as signals:
        while trainer.poll() is None:
            time.sleep(_LOOK)
            if time.monotonic() > deadline and not stopped:
                say('training    the time is up: going on with the best so far')
                trainer.send_signal(signal.SIGINT)
                stopped = True
            rows = [row for file in (directory / RUNS).glob('*/metrics.jsonl') for row in _rows(file.parent)]
            bar.update(max((row['step'] for row in rows), default=0) - bar.n)
            evaluations = [row for row in rows if row['kind'] == 'eval']
            for row in evaluations[told:]:
                say(f'epoch       {row["epoch"]} of {plan.epochs}: {row["top1"]:.1f} % of the validation pictures')
            told = len(evaluations)
    if signals.caught not in (0, signal.SIGINT):
        sys.exit(128 + signals.caught)
    if signals.caught:
        say('training    ended by Ctrl-C: going on with the best so far')
    return trainer.returncode


def _end(trainer):
    """End a trainer that is no longer needed: by SIGINT at first, so that it cleans up, then by SIGKILL."""
    for ask, seconds in ((lambda: trainer.send_signal(signal.SIGINT), _GRACE), (trainer.kill, None)):
        if trainer.poll() is None:
            ask()
            with contextlib.suppress(subprocess.TimeoutExpired):
                trainer.wait(seconds)


def _rows(run):
    """The metrics of a running training; [] if a line is still half written."""
    try:
        return read_metrics(run)
    except ValueError:
        return []


def evenly(pictures, count, seed):
    """Draw `count` pictures, the same share of each class."""
    if count >= len(pictures):
        return pictures
    order = np.random.RandomState(seed).permutation(len(pictures))
    ranks, seen = np.zeros(len(pictures)), {}
    sizes = np.bincount([picture.label for picture in pictures])
    for i in order:
        label = pictures[i].label
        seen[label] = seen.get(label, 0) + 1
        ranks[i] = seen[label] / sizes[label]
    return [pictures[i] for i in sorted(np.argsort(ranks, kind='stable')[:count])]


def balanced(pictures, classes, seed):
    """Oversample the pictures of rare classes: a class n times rarer than the largest one grows by a factor of sqrt(n)."""
    counts = np.bincount([picture.label for picture in pictures], minlength=classes)
    if counts.min() * 2 > counts.max():
        return pictures
    draw, rows = np.random.RandomState(seed), list(pictures)
    for label, count in enumerate(counts):
        own = [picture for picture in pictures if picture.label == label]
        more = int(round(count * (np.sqrt(counts.max() / count) - 1))) if count else 0
        rows += [own[i] for i in draw.randint(0, count, more)] if more else []
    return rows
