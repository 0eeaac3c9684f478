"""Trainings in processes that a test may kill. Most are forked from the test's, so that they need not import Paddle again."""
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import image_classification as ic
from image_classification.engine import launch
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.engine.processes.distributed import Group
from image_classification.engine.trainer import train_or_evaluate


def fork(function, log, **environment):
    """Call `function()` in a child, its output in the file `log`; returns its process number."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        sys.stdout = sys.stderr = sys.__stderr__ = open(log, 'a', buffering=1, encoding='utf-8')
        for number in (1, 2):
            os.dup2(sys.stdout.fileno(), number)
        os.environ.update(environment)
        signal.alarm(120)                                          # nothing outlives a test that has failed
        function()
        code = 0
    except SystemExit as end:
        code = end.code
    except ic.UserError as error:
        os.write(2, f'error: {error}\n'.encode())
        code = error.exit_code
    finally:
        os._exit(code)


def begin(cfg, log, watched=False):
    """Start a training in a child, with a watchdog if `watched`."""
    return fork(lambda: launch.work(cfg, ChildMessages()) if watched else train_or_evaluate(cfg, Group()), log)


FRESH = """
import sys
from pathlib import Path
from image_classification.config import config_from_text
from image_classification.engine import trainer
from image_classification.engine.processes.distributed import Group
{before}
trainer.train_or_evaluate(config_from_text(Path(sys.argv[1]).read_text(), sys.argv[1]), Group())
"""


def begin_fresh(cfg, log, before=''):
    """The same in a new Python, for signals: where a server has run in the test's process, a fork of it may end by SIGSEGV when
    a signal comes. `before`: code to run before the training."""
    file = Path(f'{log}.yaml')
    file.write_text(cfg.dump())
    with open(log, 'a') as output:
        return subprocess.Popen([sys.executable, '-c', FRESH.format(before=before), str(file)], stdout=output, stderr=output).pid


def begin_group(count, cfg, log):
    """Start `count` processes of one training, as `python -m paddle.distributed.launch` starts them: [process number, ...]."""
    endpoints = [f'127.0.0.1:{port}' for port in free_ports(count)]
    common = {'PADDLE_TRAINERS_NUM': str(count), 'PADDLE_TRAINER_ENDPOINTS': ','.join(endpoints)}
    return [fork(lambda: launch.work(cfg, ChildMessages()), f'{log}{rank}', **common, PADDLE_TRAINER_ID=str(rank),
                 PADDLE_CURRENT_ENDPOINT=endpoint) for rank, endpoint in enumerate(endpoints)]


def in_processes(count, cfg):
    """Train or evaluate in several processes. Returns the directory of the run; None where it is one of before."""
    before = set(Path(cfg.SAVE).glob('*'))
    log = Path(cfg.SAVE).with_name(f'log of {len(before)}, ')
    codes = [end(pid, 0) for pid in begin_group(count, cfg, log)]
    assert codes == [0] * count, [Path(f'{log}{rank}').read_text() for rank in range(count)]
    return next(iter(set(Path(cfg.SAVE).glob('*')) - before), None)


def free_ports(count):
    servers = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def end(pid, number=signal.SIGKILL, after=0.0):
    """Its exit code, negative for the signal that has killed it, once it has been sent `number` (0: none)."""
    time.sleep(after)
    if number:
        os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_for(condition, seconds=90):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, 'it did not come'
        time.sleep(0.02)
