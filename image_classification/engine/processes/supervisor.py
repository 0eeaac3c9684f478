"""The training processes of this machine: started together, ended together, and started again from the last checkpoint."""
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from multiprocessing import connection
from pathlib import Path

import paddle.distributed as dist

from image_classification.engine.processes import distributed
from image_classification.engine.run import is_last
from image_classification.engine.processes.stop_signals import STOPPED, StopSignals
from image_classification.errors import TemporaryError, UserError

_GRACE = 15.0                              # seconds for the processes that are left, after one has failed
_FINAL = {0, 1, 2, *STOPPED}               # exit codes after which a new start would be wrong or useless: see errors.py


class Notes:
    """What a process leaves for the one that has started it, in a directory of files; without a directory, nothing."""

    def __init__(self, directory=''):
        self.directory = directory

    def run(self, directory):
        """The main process writes into this directory."""
        self._write('run', str(Path(directory).absolute()))

    def reason(self, rank, reason, code):
        """Process `rank` is about to end because of this."""
        self._write(f'reason-{rank:05}', [code, reason])

    def _write(self, name, value):
        if self.directory:
            Path(self.directory, name).write_text(json.dumps(value), encoding='utf-8')

    def read(self, name):
        """The values of the files whose names begin so, in the order of the names."""
        return [json.loads(path.read_text(encoding='utf-8')) for path in sorted(Path(self.directory).glob(f'{name}*'))]


def supervise(function, cfg, count, max_restarts=0):
    """Run `function(cfg, notes, parent)` in `count` new processes, or, under paddle's launcher, in one in place of this.

    When one fails, the others get a short time to end, and then all start again from the run's last checkpoint, at most
    `max_restarts` times. SIGTERM and Ctrl-C are passed on.
    Raises:
        UserError, TemporaryError: the reason of the last failure. SystemExit: the processes were asked to stop.
    """
    # Python's resource tracker comments, after the last line of ours, on what a killed process could not tidy up.
    os.environ['PYTHONWARNINGS'] = 'ignore::UserWarning:multiprocessing.resource_tracker'
    for attempt in range(max_restarts + 1):
        with tempfile.TemporaryDirectory() as directory:
            notes = Notes(directory)
            code, reason = _attempt(function, cfg, notes, count)
            run = notes.read('run')
        if code == 0:
            return
        if code in STOPPED:
            sys.exit(code)
        if code in _FINAL or attempt == max_restarts:
            break
        print(f'{reason}; start {attempt + 2} of {max_restarts + 1}', file=sys.stderr, flush=True)
        cfg = _resumed(cfg, run)
    failed = f'a training process failed: {reason}'
    raise UserError(failed) if code in _FINAL else TemporaryError(failed)


def _resumed(cfg, run):
    """The configuration of the next start: from the last checkpoint of the run, if it has written one. Where this machine does
    not have the main process, `run` is empty, and `find_checkpoint` gets the path from the one that has."""
    if not run or not any(is_last(path) for path in Path(run[0]).glob('*.safetensors')):
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.RESUME = run[0]
    cfg.freeze()
    return cfg


def _attempt(function, cfg, notes, count):
    """(exit code, reason) of one start."""
    processes, _kept = _start(function, (cfg, notes, os.getpid()), count)

    def forward(number):
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, number)
    with StopSignals('asking the training to save its state and to stop; once more ends it at once', forward) as signals:
        failed = _wait(processes)
        if signals.caught:
            return 128 + signals.caught, ''
    return _judge(failed, notes.read('reason')) if failed else (0, '')


def _start(function, args, count):
    """(processes, what must live as long as they do: paddle's queues to them)."""
    if not distributed.under_launcher() and count > 1:
        backend = 'nccl' if distributed.gpu_count() else 'gloo'
        context = dist.spawn(function, args=args, nprocs=count, backend=backend, join=False)
        return context.processes, context
    process = multiprocessing.get_context('spawn').Process(target=function, args=args)   # the environment says who it is
    process.start()
    return [process], None


def _wait(processes):
    """Wait until all have ended. [(number, exit code)] of those that failed by themselves, the first one first."""
    failed, alive, end = [], dict(enumerate(processes)), None
    while alive:
        connection.wait([process.sentinel for process in alive.values()], 0.2)
        for number, process in list(alive.items()):
            if process.exitcode is not None:
                del alive[number]
                if process.exitcode:
                    failed.append((number, process.exitcode))
        if failed and end is None:
            end = time.monotonic() + _GRACE
        if end and time.monotonic() > end:
            for process in alive.values():
                process.kill()
                process.join()
            break
    return failed


def _judge(failed, reasons):
    """One exit code and one reason: a signal that has killed a process, else what a process has said."""
    killed = [(number, -code) for number, code in failed if code < 0 and -code != signal.SIGABRT]
    if killed:                                                     # SIGABRT is Paddle's way to end when another one is lost
        number, code = killed[0]
        name = os.environ.get('PADDLE_TRAINER_ID', number) if distributed.under_launcher() else number
        return TemporaryError.exit_code, f'process {name} was killed by {signal.Signals(code).name}; did memory run out?'
    if reasons:
        code, reason = min(reasons, key=lambda item: item[0] not in _FINAL)
        return code, reason
    number, code = failed[0]
    return TemporaryError.exit_code if code < 0 else code, f'process {number} ended with code {code}'
