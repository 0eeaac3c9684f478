"""Start the training processes of this machine together, end them together, and restart them from the last checkpoint."""
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import time
import warnings
from multiprocessing import connection

import paddle.distributed as dist

from image_classification.engine.processes import distributed
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.engine.processes.stop_signals import STOPPED, StopSignals
from image_classification.errors import READER_GONE, TemporaryError, UserError, blocked_signals, complain, oom_kills
from image_classification.files import temporary_directory

_GRACE = 15.0                              # seconds for the other processes to end after one has failed
_FINAL = {0, 1, 2, *STOPPED}               # exit codes after which a restart would be wrong or useless: see errors.py


def supervise(function, cfg, count, max_restarts, resumed):
    """Run `function(cfg, messages, parent)` in `count` new processes; under Paddle's launcher, in one new process.

    When one process fails, the others get a short time to end. Then all are restarted with the configuration
    `resumed(cfg, run directory or None)`, at most `max_restarts` times. SIGTERM, SIGHUP and Ctrl-C are passed on.
    Raises:
        UserError, TemporaryError: the reason of the last failure.
        SystemExit: the processes were asked to stop.
    """
    # Otherwise Python's resource tracker warns, after our last line, about leftovers of a killed process.
    ignored = 'ignore::UserWarning:multiprocessing.resource_tracker'
    told = os.environ.get('PYTHONWARNINGS', '')
    if ignored not in told:
        os.environ['PYTHONWARNINGS'] = ','.join(filter(None, [told, ignored]))
    for attempt in range(max_restarts + 1):
        with temporary_directory() as directory:
            messages = ChildMessages(directory)
            code, reason = _attempt(function, cfg, messages, count)
            run = messages.run_directory()
        if code == 0:
            return
        if code in STOPPED:
            sys.exit(code)
        if code in _FINAL or attempt == max_restarts:
            break
        complain(f'{reason}; start {attempt + 2} of {max_restarts + 1}')
        cfg = resumed(cfg, run)
    failed = f'a training process failed: {reason}'
    raise UserError(failed) if code in _FINAL else TemporaryError(failed)


def _attempt(function, cfg, messages, count):
    """Start the processes once and wait for them. Returns (exit code, reason)."""
    processes = []

    def forward(number):
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, number)
    with StopSignals('asking the training to save its state and to stop; once more ends it at once', forward) as signals:
        with blocked_signals():
            started, _kept = _start(function, (cfg, messages, os.getpid()), count)
        processes += started
        if signals.caught:                                         # a signal that came while they were started
            forward(signals.caught)
        killed = oom_kills()
        failed = _wait(processes)
        if signals.caught:
            return 128 + signals.caught, ''
    return _judge(failed, messages.failures(), oom_kills() > killed) if failed else (0, '')


def _start(function, args, count):
    """Start the processes. Returns (processes, object to keep alive as long as they run: Paddle's queues to them)."""
    if not distributed.under_launcher() and count > 1:
        distributed.check_start_port(count)
        backend = 'nccl' if distributed.gpu_count() else 'gloo'
        with _quietly():
            context = dist.spawn(function, args=args, nprocs=count, backend=backend, join=False)
        return context.processes, context
    process = multiprocessing.get_context('spawn').Process(target=function, args=args)   # environment variables tell its rank
    process.start()
    return [process], None


@contextlib.contextmanager
def _quietly():
    """Suppress Paddle's messages about the ports that it uses, and about a missing GPU."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='Your model will be trained under CPUONLY')
            yield
    finally:
        logging.disable(before)


def _wait(processes):
    """Wait until all processes have ended. Returns [(number, exit code)] of those that failed by themselves, in that order."""
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


def _judge(failed, reasons, out_of_memory=False):
    """One (exit code, reason) for all failures: a signal that killed a process or else the reason that a process sent.

    Args:
        out_of_memory: whether the kernel has killed processes for lack of memory.
    """
    killed = [(number, -code) for number, code in failed if code < 0 and -code != signal.SIGABRT]
    if killed:                                                     # not by SIGABRT: Paddle aborts if another process is lost
        number, code = killed[0]
        name = os.environ.get('PADDLE_TRAINER_ID', number) if distributed.under_launcher() else number
        why = ', as memory ran out' if out_of_memory and code == signal.SIGKILL else '; did memory run out?'
        return TemporaryError.exit_code, f'process {name} was killed by {signal.Signals(code).name}{why}'
    if reasons:
        code, reason = min(reasons, key=lambda item: item[0] not in _FINAL)
        return code, reason
    codes = [code for _, code in failed]
    if set(codes) <= STOPPED:                                      # only the main process knows the reason
        return (READER_GONE if READER_GONE in codes else codes[0]), ''
    number, code = failed[0]
    if code < 0:
        return TemporaryError.exit_code, f'process {number} ended with code {code} (SIGABRT); Paddle has said why above'
    return code, f'process {number} ended with code {code}'
