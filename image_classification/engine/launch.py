"""Start trainings from a command line, in one process or several."""
import dataclasses
import functools
import time
import traceback

from image_classification.config import argument_parser, changed
from image_classification.cpu.build_operators import build_in_background
from image_classification.cpu.paddle_internals import set_threads
from image_classification.cpu.settings import quieten, tune_cpu
from image_classification.engine.command_line import configuration
from image_classification.engine.processes import distributed
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.engine.processes.stop_signals import start_resource_tracker
from image_classification.engine.processes.supervisor import supervise
from image_classification.engine.processes.watchdog import Watchdog
from image_classification.engine.run_directory import has_last
from image_classification.engine.trainer import train_or_evaluate
from image_classification.engine.workers import with_workers
from image_classification.errors import TemporaryError, UserError, exit_with_message, reason_outside
from image_classification.names.text import say

_LAST_WORDS = 5.0                          # seconds for the watchdog to notice that another process has failed


@exit_with_message
def single(argv=None):
    """Train or evaluate on one device: the GPU or, without one, the CPU, where several processes may share a training."""
    args = argument_parser('Train or evaluate a model on one device.').parse_args(argv)
    if args.ngpus not in (-1, 1):
        raise UserError(f'-ngpus is {args.ngpus}; main_single_gpu.py is for one device: wanted 1, or main_multi_gpu.py')
    cfg, opening = configuration(args)
    start(cfg, 1 if distributed.gpu_count() else max(args.ngpus, 0), args.max_restarts, opening)


@exit_with_message
def multi(argv=None):
    """Train or evaluate on all devices: one process per GPU, or the fastest number of processes on a CPU.

    Processes are started here or by `python -m paddle.distributed.launch`. A single one is this process.
    """
    args = argument_parser('Train or evaluate a model on all devices.').parse_args(argv)
    cfg, opening = configuration(args)
    processes = 1 if distributed.under_launcher() else distributed.world_size_for(args.ngpus)
    start(cfg, processes, args.max_restarts, opening)


def start(cfg, processes, max_restarts, opening=()):
    """Train in this process; or in new ones, if there are several or if restarts are allowed.

    Args:
        processes: number of processes; 0: PROCESSES of the configuration, or else the fastest number.
    """
    if not distributed.gpu_count() and not distributed.under_launcher() and not cfg.EVAL:
        if not cfg.RESUME:                                         # a resumed training keeps the operators that it had
            build_in_background(lambda: say('compiling operators for this processor; takes half a minute, once'))()
        cfg, lines = with_workers(cfg, processes)
        processes, opening = cfg.PROCESSES, [*opening, *lines]
    processes = max(processes, 1)
    if processes > 1 or max_restarts or cfg.DATA.NUM_WORKERS:
        start_resource_tracker()
    if processes == 1 and not max_restarts:
        work(cfg, ChildMessages(), opening=opening)
    else:
        supervise(functools.partial(child, opening), cfg, processes, max_restarts, resumed)


def resumed(cfg, directory):
    """The configuration for a restart: resume from the last checkpoint of the run, if there is one.

    `directory` is None on machines without the main process. `find_checkpoint` gets the path from the main process then.
    """
    if directory is None or not has_last(directory):
        return cfg
    return changed(cfg, {'RESUME': directory})


@exit_with_message
def child(opening, cfg, messages, parent):
    """The main function of a process started by the supervisor."""
    quieten()
    tune_cpu()
    work(cfg, messages, parent, opening)


def work(cfg, messages, parent=0, opening=()):
    """Run one process of a training, or the only one, under a watchdog that reports every failure to the other processes.

    Args:
        opening: first lines of the log.

    Raises:
        UserError, TemporaryError: the training failed; the message has the reason.
        SystemExit: the training was asked to stop, and has saved its state.
    """
    group = distributed.join_group()
    if cfg.THREADS and not distributed.gpu_count():
        set_threads(cfg.THREADS)
    watch = Watchdog(group, cfg.WATCHDOG_SECONDS, lambda reason, code: messages.send_failure(group.rank, reason, code), parent)
    try:
        train_or_evaluate(cfg, dataclasses.replace(group, watch=watch), messages, opening)
        watch.close()
    except UserError as error:
        messages.send_failure(group.rank, str(error), error.exit_code)
        watch.fail(str(error), error.exit_code)
        raise
    except BrokenPipeError:                                        # the reader closed the pipe
        watch.close()
        raise
    except Exception as error:
        if group.world_size > 1:
            time.sleep(_LAST_WORDS)                                # if another process has failed, the watchdog ends this one
        reason = failure(error)
        messages.send_failure(group.rank, reason, TemporaryError.exit_code)
        watch.fail(reason, TemporaryError.exit_code)
        raise TemporaryError(reason) from None
    except BaseException:                                          # asked to stop
        watch.close()
        raise


def failure(error):
    """One line with the reason of an unexpected exception. If it may be a bug of this library, print the traceback first."""
    outside = reason_outside(error)
    if outside:
        return str(outside)
    traceback.print_exception(error)
    return f'{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else "no message"}'
