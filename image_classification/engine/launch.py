"""From a command line to trainings in one process or several."""
import dataclasses
import functools
import time
import traceback

from image_classification.config import argument_parser, changed
from image_classification.cpu.settings import tune_cpu
from image_classification.engine.command_line import configuration
from image_classification.engine.processes import distributed
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.engine.processes.supervisor import supervise
from image_classification.engine.processes.watchdog import Watchdog
from image_classification.engine.run_directory import has_last
from image_classification.engine.trainer import train_or_evaluate
from image_classification.errors import TemporaryError, UserError, exit_with_message

_LAST_WORDS = 5.0                          # seconds for the watchdog to find out which other process has failed


@exit_with_message
def single(argv=None):
    """One process on one device: the GPU where there is one, else the CPU."""
    args = argument_parser('Train or evaluate a model on one device.').parse_args(argv)
    if args.ngpus not in (-1, 1):
        raise UserError(f'-ngpus is {args.ngpus}; main_single_gpu.py runs one process. Use main_multi_gpu.py.')
    cfg, opening = configuration(args)
    start(cfg, 1, args.max_restarts, opening)


@exit_with_message
def multi(argv=None):
    """One process per device, started here or by `python -m paddle.distributed.launch`; at one device, this process."""
    args = argument_parser('Train or evaluate a model on all devices.').parse_args(argv)
    cfg, opening = configuration(args)
    processes = 1 if distributed.under_launcher() else distributed.world_size_for(args.ngpus)
    start(cfg, processes, args.max_restarts, opening)


def start(cfg, processes, max_restarts, opening=()):
    """Train in this process, or in new ones where there are several or one may have to start again."""
    if processes == 1 and not max_restarts:
        work(cfg, ChildMessages(), opening=opening)
    else:
        supervise(functools.partial(child, opening), cfg, processes, max_restarts, resumed)


def resumed(cfg, directory):
    """The configuration of the next start: from the last checkpoint of the run, if it has written one. Where this machine does
    not have the main process, `directory` is None, and `find_checkpoint` gets the path from the one that has."""
    if directory is None or not has_last(directory):
        return cfg
    return changed(cfg, {'RESUME': directory})


@exit_with_message
def child(opening, cfg, messages, parent):
    """A process that the supervisor has started."""
    tune_cpu()
    work(cfg, messages, parent, opening)


def work(cfg, messages, parent=0, opening=()):
    """Be one process of a training, or the only one, under a watchdog: every failure gets to the other processes.

    Args:
        opening: first lines of the log.

    Raises:
        UserError, TemporaryError: with the reason; SystemExit: the training was asked to stop, and has saved its state.
    """
    group = distributed.join_group()
    watch = Watchdog(group, cfg.WATCHDOG_SECONDS, lambda reason, code: messages.send_failure(group.rank, reason, code), parent)
    try:
        train_or_evaluate(cfg, dataclasses.replace(group, watch=watch), messages, opening)
        watch.close()
    except UserError as error:
        messages.send_failure(group.rank, str(error), error.exit_code)
        watch.fail(str(error), error.exit_code)
        raise
    except Exception as error:
        if group.world_size > 1:
            time.sleep(_LAST_WORDS)                                # where another has failed, the watchdog ends this one now
        traceback.print_exc()
        reason = f'{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else "no message"}'
        messages.send_failure(group.rank, reason, TemporaryError.exit_code)
        watch.fail(reason, TemporaryError.exit_code)
        raise TemporaryError(reason) from None
    except BaseException:                                          # asked to stop
        watch.close()
        raise
