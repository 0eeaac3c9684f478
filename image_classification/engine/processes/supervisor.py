"""The training processes of this machine: started together, ended together, and started again from the last checkpoint."""
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from multiprocessing import connection

import paddle.distributed as dist

from image_classification.engine.processes import distributed
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.engine.processes.stop_signals import STOPPED, StopSignals
from image_classification.errors import TemporaryError, UserError

_GRACE = 15.0                              # seconds for the processes that are left, after one has failed
_FINAL = {0, 1, 2, *STOPPED}               # exit codes after which a new start would be wrong or useless: see errors.py


def supervise(function, cfg, count, max_restarts, resumed):
    """Run `function(cfg, messages, parent)` in `count` new processes, or, under paddle's launcher, in one in place of this.

    When one fails, the others get a short time to end, and then all start again with the configuration
    `resumed(cfg, run directory or None)`, at most `max_restarts` times. SIGTERM and Ctrl-C are passed on.
    Raises:
        UserError, TemporaryError: the reason of the last failure. SystemExit: the processes were asked to stop.
    """
    # Python's resource tracker comments, after the last line of ours, on what a killed process could not tidy up.
    ignored = 'ignore::UserWarning:multiprocessing.resource_tracker'
    told = os.environ.get('PYTHONWARNINGS', '')
    if ignored not in told:
        os.environ['PYTHONWARNINGS'] = ','.join(filter(None, [told, ignored]))
    for attempt in range(max_restarts + 1):
        with tempfile.TemporaryDirectory() as directory:
            messages = ChildMessages(directory)
            code, reason = _attempt(function, cfg, messages, count)
            run = messages.run_directory()
        if code == 0:
            return
        if code in STOPPED:
            sys.exit(code)
        if code in _FINAL or attempt == max_restarts:
            break
        print(f'{reason}; start {attempt + 2} of {max_restarts + 1}', file=sys.stderr, flush=True)
        cfg = resumed(cfg, run)
    failed = f'a training process failed: {reason}'
    raise UserError(failed) if code in _FINAL else TemporaryError(failed)


def _attempt(function, cfg, messages, count):
    """(exit code, reason) of one start."""
    processes, _kept = _start(function, (cfg, messages, os.getpid()), count)

    def forward(number):
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, number)
    with StopSignals('asking the training to save its state and to stop; once more ends it at once', forward) as signals:
        failed = _wait(processes)
        if signals.caught:
            return 128 + signals.caught, ''
    return _judge(failed, messages.failures()) if failed else (0, '')


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
