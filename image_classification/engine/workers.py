"""Find the fastest number of processes and threads for a training on a CPU, by timing a few steps of each."""
import contextlib
import functools
import hashlib
import json
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paddle

from image_classification.config import changed
from image_classification.cpu import operators, paddle_internals
from image_classification.cpu.settings import tune_cpu, usable_cores
from image_classification.download import cache_directory
from image_classification.download.cache import read_json
from image_classification.engine.parts import build_network, build_optimization
from image_classification.engine.processes import distributed
from image_classification.engine.processes.supervisor import supervise
from image_classification.engine.run_directory import find_checkpoint
from image_classification.errors import TemporaryError, UserError, exit_with_message
from image_classification.files import temporary_directory, write_atomically
from image_classification.names.text import say

_LEAST = 16                                # fewest images per process and step: batch norms of fewer change the training
_ROUNDS, _LONG = 5, 6.0                    # timed rounds; there are fewer if a round takes more than _LONG seconds
_KEPT = 24 * 3600.0                        # seconds for which a measurement is reused
_RATES = 'rates.json'


@dataclass
class Workers:
    """Number of training processes, and of threads in each."""
    processes: int = 1
    threads: int = 1
    rates: list = field(default_factory=list)  # [[processes, threads, images/s], ...], the fastest first
    why: str = ''

    def line(self):
        """A line for the log."""
        tried = [f'{_in_words(count, threads)} {rate:.0f} images/s' for count, threads, rate in self.rates]
        share = ', which share the batch' if self.processes > 1 else ''
        return (f'on the CPU {_in_words(self.processes, self.threads)}{share}: {", ".join(tried) or self.why}; -ngpus and '
                '-threads choose others')


def _in_words(processes, threads):
    return f'{processes} process{"es" * (processes > 1)} of {threads} thread{"s" * (threads > 1)}'


def with_workers(cfg, processes):
    """(configuration with the numbers of processes and threads for this CPU, lines for the log).

    If neither `processes` nor PROCESSES is set, the number is chosen here, and the processes share DATA.BATCH_SIZE and
    DATA.NUM_WORKERS. A resumed training keeps its number. Any other uses the fastest one, measured with its own network and
    batch size.
    """
    processes = processes or cfg.PROCESSES
    if processes:
        return changed(cfg, {'PROCESSES': processes, 'THREADS': cfg.THREADS or 1}), []
    checkpoint = find_checkpoint(cfg) if cfg.RESUME else None
    workers = _of_checkpoint(checkpoint, cfg) if checkpoint else _fastest(cfg, cfg.THREADS)
    cfg = _shared(cfg, workers.processes, cfg.THREADS or workers.threads)
    return cfg, [workers.line()] if workers.rates or workers.why else []


def _shared(cfg, processes, threads):
    """The configuration of each process, if several share a batch."""
    loaders = -(-cfg.DATA.NUM_WORKERS // processes)
    return changed(cfg, {'PROCESSES': processes, 'THREADS': threads, 'DATA.BATCH_SIZE': cfg.DATA.BATCH_SIZE // processes,
                         'DATA.BATCH_SIZE_EVAL': -(-cfg.DATA.BATCH_SIZE_EVAL // processes), 'DATA.NUM_WORKERS': loaders})


def _of_checkpoint(checkpoint, cfg):
    before = max(1, checkpoint.cfg.PROCESSES or len(checkpoint.progress.meters))
    if cfg.DATA.BATCH_SIZE % before:
        return Workers(why=f'the checkpoint has {before} processes, which cannot share {cfg.DATA.BATCH_SIZE} images')
    return Workers(before, checkpoint.cfg.THREADS or 1, why='as in the checkpoint' if before > 1 else '')


def candidates(batch, cores, threads=0):
    """[(processes, threads)] to choose from. The first is one process of one thread; all others use all cores.

    Args:
        batch: images per step, shared by the processes.
        threads: the only number of threads allowed; 0: any.
    """
    counts = [count for count in (cores, cores // 2, cores // 4)
              if count > 1 and batch % count == 0 and batch // count >= _LEAST]
    found = dict.fromkeys([(1, 1), (1, cores), *((count, max(1, cores // count)) for count in counts)])
    return [pair for pair in found if threads in (0, pair[1])] or [(1, threads)]


def _fastest(cfg, threads):
    """The fastest Workers, measured now or within the last day."""
    choice = candidates(cfg.DATA.BATCH_SIZE, usable_cores(), threads)
    if len(choice) == 1:
        return Workers(*choice[0])
    path = cache_directory() / 'workers' / f'{_key(cfg, choice)}.json'
    known = read_json(path)
    if time.time() - known.get('time', 0) < _KEPT:
        return Workers(*known['rates'][0][:2], known['rates'])
    say('measuring which number of processes and threads is fastest here (once a day)')
    try:
        rates = sorted(_measured(cfg, choice), key=lambda row: -row[2])
    except Exception as error:                                     # one process works anyway, or reports the error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Workers(why=f'others could not be tried ({reason})')
    with contextlib.suppress(UserError, OSError):                  # without a cache, the next start measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: file.write_text(json.dumps({'time': time.time(), 'rates': rates})))
    return Workers(*rates[0][:2], rates)


def _key(cfg, choice):
    """A hash of everything that determines the speed of a step on this machine."""
    made_of = [cfg.MODEL.dump(), cfg.DATA.IMAGE_SIZE, cfg.TRAIN.IMAGE_SIZE, cfg.DATA.BATCH_SIZE,
               cfg.TRAIN.OPTIMIZER.dump(), cfg.TRAIN.MODEL_EMA, cfg.TRAIN.FREEZE, choice, paddle.__version__, operators.loaded(),
               platform.node()]
    return hashlib.sha256('\n'.join(map(str, made_of)).encode()).hexdigest()[:16]


def _measured(cfg, choice):
    """[[processes, threads, images/s], ...]. The speed of a processor changes from second to second, so each candidate takes
    turns with one process of one thread, and is rated by its ratio to that."""
    plain = changed(cfg, {'TRAIN.DISTILL.KIND': 'none', 'PRETRAINED': '', 'RESUME': ''})
    alone = [threads for count, threads in choice if count == 1]
    together = [pair for pair in choice if pair[0] > 1]
    found = [] if together else take_turns(plain, alone, distributed.Group(), (1, 0))
    for number, pair in enumerate(together):
        rows = _in_children(plain, [1] if number else alone, pair)
        base = found[0][2] / rows[0][2] if found else 1.0
        found += [[*one, rate * base] for *one, rate in rows[bool(found):]]
    return found


def _in_children(cfg, alone, pair):
    with temporary_directory() as directory:
        supervise(functools.partial(_child, str(directory), alone, pair), cfg, pair[0], 0, None)
        return read_json(directory / _RATES)['rates']


@exit_with_message
def _child(directory, alone, pair, cfg, messages, parent):
    """The main function of a process in a measurement."""
    tune_cpu()
    try:
        group = distributed.join_group()
        rates = take_turns(cfg, alone, group, pair)
        if group.is_main:
            Path(directory, _RATES).write_text(json.dumps({'rates': rates}))
    except Exception as error:
        messages.send_failure(0, f'{type(error).__name__}: {error}', TemporaryError.exit_code)
        raise


def take_turns(cfg, alone, group, pair):
    """Time steps in turns, round by round. Returns [[processes, threads, images/s], ...].

    Args:
        alone: numbers of threads to time the main process with, alone.
        group: all processes. If there are several, each round also times a shared step of them.
        pair: (number of processes in `group`, threads of each).
    """
    single = Steps(cfg, distributed.Group()) if group.is_main else None
    shared = Steps(_shared(cfg, *pair), group) if pair[0] > 1 else None
    runs = [(single, 1, threads, []) for threads in alone] + ([(shared, *pair, [])] if shared else [])
    rounds = 1 + _ROUNDS
    while rounds:
        begun = time.perf_counter()
        for steps, _, threads, seconds in runs:
            group.gather_objects(None)                             # no other process computes during a timing
            if steps:
                paddle_internals.set_threads(threads)
                seconds.append(steps.seconds_of_one())
        # The first round allocates memory and is slower. It counts only if it is the only one, because steps take very long.
        left = _ROUNDS * _LONG - (time.perf_counter() - begun)
        rounds, = group.gather_objects(min(rounds - 1, max(0, round(left / _LONG))))[:1]
    paddle_internals.set_threads(1)
    return [[count, threads, cfg.DATA.BATCH_SIZE / statistics.median(seconds[1:] or seconds)]
            for _, count, threads, seconds in runs if seconds]


class Steps:
    """Training steps on noise instead of pictures."""

    def __init__(self, cfg, group):
        rng, data, classes = np.random.default_rng(group.rank), cfg.DATA, cfg.MODEL.NUM_CLASSES
        side = cfg.TRAIN.IMAGE_SIZE or data.IMAGE_SIZE
        shape = data.BATCH_SIZE, cfg.MODEL.IN_CHANNELS, side, side
        self.images = paddle.to_tensor(rng.standard_normal(shape, np.float32))
        self.targets = paddle.full([data.BATCH_SIZE, classes], 1 / classes)
        self.network = build_network(cfg, group)
        self.optimization = build_optimization(cfg, group, self.network.model, list(map(str, range(classes))))
        self.network.begin_epoch(0)

    def seconds_of_one(self):
        begun, optimization = time.perf_counter(), self.optimization
        optimization.guard.begin()
        loss = optimization.criterion(self.network.parallel(self.images), self.targets, self.images)
        loss.backward()
        if optimization.guard.passes([loss], False):
            optimization.optimizer.step()
            self.network.ema.update(1)
        optimization.optimizer.clear_grad()
        return time.perf_counter() - begun
