"""Trainings in child processes that a test may kill. Forked, so that they need not import Paddle again."""
import os
import signal
import sys
import time

import image_classification as ic
from image_classification.engine.processes.distributed import Group
from image_classification.engine.trainer import train_or_evaluate
from image_classification.engine.processes.watchdog import Watchdog


def begin(cfg, log, watched=False):
    """Start `train_or_evaluate(cfg)` in a child, its output in the file `log`; returns its process number."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        sys.stdout = sys.stderr = open(log, 'a', buffering=1, encoding='utf-8')
        os.dup2(sys.stdout.fileno(), 2)
        signal.alarm(120)                                          # nothing outlives a test that has failed
        group = Group()
        if watched:
            group = Group(watch=Watchdog(group, cfg.WATCHDOG_SECONDS, lambda reason, code: None))
        train_or_evaluate(cfg, group)
        code = 0
    except SystemExit as end:
        code = end.code
    except ic.UserError as error:
        os.write(2, f'error: {error}\n'.encode())
        code = error.exit_code
    finally:
        os._exit(code)


def end(pid, number=signal.SIGKILL, after=0.0):
    """Its exit code, negative for the signal that has killed it, once it has been sent `number` (0: none)."""
    time.sleep(after)
    if number:
        os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_for(condition, seconds=40):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, 'it did not come'
        time.sleep(0.02)
