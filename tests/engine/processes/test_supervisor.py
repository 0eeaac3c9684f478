"""Several processes on the CPU, as a user starts them, of which one dies, hangs, or is asked to stop."""
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.faults import wait_for
from tests.engine.test_launch import PACKAGE, PROJECT, flags, only_run, rows, start  # noqa: F401  (flags is a fixture)
from tests.engine.test_trainer import assert_same_file

TWO = ('-ngpus', 2)


class Training:
    """main_multi_gpu.py at work. Its processes are known by a mark in their environment, whoever has started them."""

    def __init__(self, flags, tmp_path, *options, launcher=(), name='output.txt'):
        self.output = tmp_path / name
        self.mark = f'TEST_OUTPUT={self.output}'
        environment = {key: value for key, value in os.environ.items() if not key.startswith('PADDLE_')}
        environment['TEST_OUTPUT'] = str(self.output)
        command = [sys.executable, *launcher, PACKAGE / 'main_multi_gpu.py', *options, *flags]
        self.process = subprocess.Popen(list(map(str, command)), cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.output.open('w'), stderr=subprocess.STDOUT)

    def text(self):
        return self.output.read_text(errors='replace')

    def wait_for(self, words, seconds=90):
        def there():
            assert self.process.poll() is None or words in self.text(), self.text()
            return words in self.text()
        wait_for(there, seconds)

    def workers(self):
        """Numbers of the training processes, those of the first started first."""
        return sorted(pid for pid in self.alive() if b'spawn_main' in Path(f'/proc/{pid}/cmdline').read_bytes())

    def alive(self):
        """Numbers of all processes that are left of it."""
        found = []
        for path in Path('/proc').glob('[0-9]*/environ'):
            try:
                if self.mark.encode() in path.read_bytes().split(b'\0'):
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def end(self, seconds=90):
        """(exit code, last line)."""
        code = self.process.wait(seconds)
        return code, [line for line in self.text().splitlines() if line.strip()][-1]


@pytest.fixture
def training(flags, tmp_path):  # noqa: F811
    """training(options): a run that is ended with the test."""
    made = []

    def make(*options, **more):
        made.append(Training(flags, tmp_path, *options, **more))
        return made[-1]
    flags += ['SAVE_STEPS', '1', 'TRAIN.MODEL_EMA', 'True', 'WATCHDOG_SECONDS', '5']
    yield make
    for one in made:
        for pid in one.alive():
            os.kill(pid, signal.SIGKILL)
        one.process.wait()


@pytest.fixture
def epochs(flags):  # noqa: F811
    """epochs(n) sets -epochs."""
    def change(count):
        flags[flags.index('-epochs') + 1] = count
    return change


def test_a_killed_process_is_started_again_and_the_run_ends_as_if_nothing_had_happened(training, flags, epochs):  # noqa: F811
    epochs(4)
    one = training(*TWO, '-max_restarts', 1)
    one.wait_for('step 4 ')
    os.kill(one.workers()[1], signal.SIGKILL)
    code, _ = one.end()
    assert code == 0, one.text()
    assert re.search(r'process \d was killed by SIGKILL; did memory run out\?; start 2 of 2', one.text())
    assert 'resumed from' in one.text()
    killed = only_run(flags)
    flags[flags.index('-output') + 1] = killed.parent.with_name('whole')
    assert start('main_multi_gpu.py', *TWO, *flags).returncode == 0
    assert_same_file(only_run(flags) / 'last.safetensors', killed / 'last.safetensors')
    assert [row['loss'] for row in rows(killed, 'train')] == [row['loss'] for row in rows(only_run(flags), 'train')]


@pytest.mark.parametrize('number, words', [(signal.SIGKILL, r'process 1 was killed by SIGKILL'),
                                           (signal.SIGSTOP, r'process \d (has not answered|has made no progress) for 5 s')])
def test_when_a_process_dies_or_hangs_all_end_with_the_reason_on_the_last_line(training, epochs, number, words):
    epochs(1000)
    one = training(*TWO)
    one.wait_for('step 2 ')
    pids = one.workers()
    os.kill(pids[1], number)
    begun = time.monotonic()
    code, line = one.end()
    assert code == 75 and line.startswith('error: a training process failed: ') and re.search(words, line), one.text()
    assert time.monotonic() - begun < 40
    wait_for(lambda: not set(pids) & set(one.alive()), 5)


def test_a_signal_to_the_parent_saves_and_the_resumed_run_goes_on_from_there(training, flags, epochs):  # noqa: F811
    epochs(1000)
    one = training(*TWO)
    one.wait_for('step 2 ')
    one.process.send_signal(signal.SIGTERM)
    assert one.end()[0] == 143, one.text()
    assert (step := int(re.search(r'stopped after step (\d+)', one.text())[1])) >= 2 and not one.workers()
    again = training(*TWO, '-resume', 'auto', name='again.txt')
    again.wait_for(f'step {step + 1} ')
    assert f'after {step} steps' in again.text()


def test_processes_whose_parent_is_killed_end_too(training, epochs):
    epochs(1000)
    one = training(*TWO)
    one.wait_for('step 2 ')
    one.process.kill()
    wait_for(lambda: not one.workers(), 20)


def test_a_user_error_is_not_tried_again(training, flags):  # noqa: F811
    flags[flags.index('-batch_size') + 1] = 100
    one = training(*TWO, '-max_restarts', 3)
    code, line = one.end()
    assert code == 1 and '-batch_size 12 or less' in line and 'start 2' not in one.text()


def test_two_machines_train_together_and_start_again_together(training, flags, epochs, tmp_path):  # noqa: F811
    epochs(4)
    with socket.create_server(('127.0.0.1', 0)) as free:
        master = f'127.0.0.1:{free.getsockname()[1]}'
    nodes = []
    for n in (0, 1):
        launcher = ('-m', 'paddle.distributed.launch', '--nnodes', 2, '--nproc_per_node', 1, '--master', master, '--rank', n,
                    '--log_dir', tmp_path / f'node{n}')
        nodes.append(training('-max_restarts', 1, launcher=launcher, name=f'node{n}.txt'))
    log = tmp_path / 'node0' / 'workerlog.0'
    wait_for(lambda: log.exists() and 'step 4 ' in log.read_text(), 90)
    os.kill(nodes[1].workers()[-1], signal.SIGKILL)
    assert [node.end()[0] for node in nodes] == [0, 0], log.read_text()
    assert 'start 2 of 2' in log.read_text() and rows(only_run(flags), 'eval')[-1]['images'] == 10
    assert [row['step'] for row in rows(only_run(flags), 'train')] == list(range(1, 13))
