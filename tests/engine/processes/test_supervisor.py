"""Several processes on the CPU, of which one dies, hangs, or is asked to stop.

The supervisor is a process of its own, forked from the test's; it starts the training processes as for a user, in new Pythons.
"""
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from image_classification.engine import launch
from image_classification.engine.processes import supervisor
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.errors import TemporaryError, UserError
from tests.engine.faults import begin_group, end, fork, free_ports, wait_for
from tests.engine.test_launch import PACKAGE, rows

FULL = {'SAVE_STEPS': 1, 'TRAIN__MODEL_EMA': True, 'REPORT_FREQ': 1, 'WATCHDOG_SECONDS': 5.0}


class Training:
    """main_multi_gpu.py at work. Its processes are known by a mark in their environment, whoever has started them."""

    def __init__(self, cfg, directory, *options, name='output.txt', command=None):
        self.output = directory / name
        self.mark = {'TEST_OUTPUT': str(self.output)}
        file = self.output.with_suffix('.yaml')
        file.write_text(cfg.dump(), encoding='utf-8')
        arguments = [*map(str, options), '-cfg', str(file)]
        if command is None:
            self.pid = fork(lambda: launch.multi(arguments), self.output, **self.mark)
        else:
            command = [sys.executable, *map(str, command), str(PACKAGE / 'main_multi_gpu.py'), *arguments]
            self.pid = fork(lambda: os.execv(sys.executable, command), self.output, **self.mark)

    def text(self):
        return self.output.read_text(errors='replace') if self.output.exists() else ''

    def wait_for(self, words, seconds=90):
        wait_for(lambda: words in self.text(), seconds)

    def workers(self):
        """Numbers of the training processes, those of the first started first."""
        return sorted(pid for pid in self.alive() if b'spawn_main' in Path(f'/proc/{pid}/cmdline').read_bytes())

    def alive(self):
        """Numbers of all processes that are left of it, except for the forked one."""
        found, mark = [], 'TEST_OUTPUT={TEST_OUTPUT}'.format(**self.mark).encode()
        for path in Path('/proc').glob('[0-9]*/environ'):
            try:
                if mark in path.read_bytes().split(b'\0'):
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def end(self, number=0):
        """(exit code, last line) once the forked process, which gets signal `number` (0: none), has ended."""
        code, self.pid = end(self.pid, number), None
        return code, [line for line in self.text().splitlines() if line.strip()][-1]


@pytest.fixture
def training(tmp_path):
    """training(cfg, options): a Training that is ended with the test."""
    made = []

    def make(cfg, *options, **more):
        made.append(Training(cfg, tmp_path, *options, **more))
        return made[-1]
    yield make
    for one in made:
        for pid in [*one.alive(), *filter(None, [one.pid])]:
            os.kill(pid, signal.SIGKILL)
        if one.pid:
            os.waitpid(one.pid, 0)


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_a_signal_to_the_parent_saves_and_each_step_is_made_once(training, tiny, tmp_path):
    """python -m pytest -m slow tests/engine/processes; that the weights are bit for bit those of a run without a stop:
    ../test_exactness.py."""
    # In a new Python, since a signal ends some forks of a process that ran servers.
    one = training(tiny(**FULL, TRAIN__NUM_EPOCHS=1000, VALIDATE_FREQ=1000), '-ngpus', 2, '-max_restarts', 1, command=())
    one.wait_for('step 4 ')
    os.kill(one.workers()[1], signal.SIGKILL)
    one.wait_for('resumed from')
    assert re.search(r'process \d was killed by SIGKILL; did memory run out\?; start 2 of 2', one.text())
    count = one.text().count(' step ')
    wait_for(lambda: one.text().count(' step ') > count + 1)
    assert one.end(signal.SIGTERM)[0] == 143, one.text()
    step = int(re.search(r'stopped after step (\d+)', one.text())[1])
    assert step > 4 and not one.workers()
    cfg, log = tiny(**FULL, TRAIN__NUM_EPOCHS=step // 3 + 1, RESUME='auto'), tmp_path / 'resumed'
    assert [end(pid, 0) for pid in begin_group(2, cfg, log)] == [0, 0], Path(f'{log}0').read_text()
    assert f'after {step} steps' in Path(f'{log}0').read_text()
    run, = (tmp_path / 'output').glob('train-*')
    assert [row['step'] for row in rows(run, 'train')] == list(range(1, 3 * cfg.TRAIN.NUM_EPOCHS + 1))
    assert rows(run, 'eval')[-1]['images'] == 10


@pytest.mark.slow
def test_when_a_process_hangs_all_end_with_the_reason_on_the_last_line(training, tiny):
    """python -m pytest -m slow tests/engine/processes; for one process see ../test_faults.py."""
    one = training(tiny(**{**FULL, 'WATCHDOG_SECONDS': 3.0}, TRAIN__NUM_EPOCHS=1000), '-ngpus', 2)
    one.wait_for('step 2 ')
    pids = one.workers()
    os.kill(pids[1], signal.SIGSTOP)
    code, line = one.end()
    words = r'process \d (has not answered|has made no progress) for 3 s'
    assert code == 75 and line.startswith('error: a training process failed: ') and re.search(words, line), one.text()
    wait_for(lambda: not set(pids) & set(one.alive()), 20)


def test_processes_whose_parent_is_killed_end_too(training, tiny):
    one = training(tiny(**FULL, TRAIN__NUM_EPOCHS=1000, VALIDATE_FREQ=1000), '-ngpus', 1, '-max_restarts', 1)
    one.wait_for('step 2 ')
    assert one.workers()
    one.end(signal.SIGKILL)
    wait_for(lambda: not one.alive(), 60)                          # also the one that tidies up what they shared


@pytest.mark.slow
def test_a_user_error_is_told_once_more_by_the_parent_and_not_tried_again(training, tiny):
    """python -m pytest -m slow tests/engine/processes; what the supervisor makes of it is below."""
    one = training(tiny(DATA__BATCH_SIZE=100), '-ngpus', 2, '-max_restarts', 3)
    code, line = one.end()
    assert code == 1 and 'set -batch_size 8, which' in line and 'start 2' not in one.text() and 'Traceback' not in one.text()


# Without trainings: what the supervisor makes of how its processes end.

def ends(*codes):
    """A stand-in for one start of processes: the n-th start ends with the n-th (exit code, reason)."""
    left, seen = list(codes), []

    def attempt(function, cfg, messages, count):
        seen.append(cfg)
        messages.send_run_directory('/a run')
        return left.pop(0)
    return attempt, seen


@pytest.mark.parametrize('codes, starts, error', [
    ([(0, '')], 1, None), ([(75, 'killed'), (0, '')], 2, None), ([(75, 'killed')] * 3, 3, TemporaryError),
    ([(1, 'no data')], 1, UserError), ([(75, 'killed'), (1, 'no data')], 2, UserError), ([(143, '')], 1, SystemExit)])
def test_it_starts_again_after_failures_that_may_pass_and_only_so_many_times(monkeypatch, codes, starts, error):
    attempt, seen = ends(*codes)
    monkeypatch.setattr(supervisor, '_attempt', attempt)
    monkeypatch.setenv('PYTHONWARNINGS', '')
    run = lambda: supervisor.supervise(None, 'new', 2, 2, lambda cfg, directory: f'on in {directory}')  # noqa: E731
    if error:
        with pytest.raises(error):
            run()
    else:
        run()
    assert seen == ['new', *['on in /a run'] * (starts - 1)]


@pytest.mark.parametrize('failed, told, expected', [
    ([(1, -signal.SIGKILL)], [], (75, 'process 1 was killed by SIGKILL; did memory run out?')),
    ([(0, -signal.SIGABRT)], [], (75, 'process 0 ended with code -6 (SIGABRT); Paddle has said why above')),
    ([(0, 75), (1, 1)], [(75, 'process 1 is gone'), (1, 'no data')], (1, 'no data')),
    ([(0, 3)], [], (3, 'process 0 ended with code 3')),
    ([(1, 143), (0, 141)], [], (141, '')), ([(1, 143), (0, 143)], [], (143, '')), ([(0, 129)], [], (129, ''))])
def test_one_reason_is_told_that_of_a_kill_or_of_the_user_before_others(monkeypatch, tmp_path, failed, told, expected):
    messages = ChildMessages(tmp_path)
    for rank, (code, reason) in enumerate(told):
        messages.send_failure(rank, reason, code)
    monkeypatch.setattr(supervisor, '_start', lambda *args: ([], None))
    monkeypatch.setattr(supervisor, '_wait', lambda processes: failed)
    assert supervisor._attempt(None, None, messages, 2) == expected


@pytest.mark.slow
def test_two_machines_train_together_and_start_again_together(training, tiny, tmp_path):
    """python -m pytest -m slow tests/engine/processes"""
    cfg, nodes = tiny(**FULL, TRAIN__NUM_EPOCHS=4), []
    master = f'127.0.0.1:{free_ports(1)[0]}'
    for n in (0, 1):
        launcher = ('-m', 'paddle.distributed.launch', '--nnodes', 2, '--nproc_per_node', 1, '--master', master, '--rank', n,
                    '--log_dir', tmp_path / f'node{n}')
        nodes.append(training(cfg, '-max_restarts', 1, command=launcher, name=f'node{n}.txt'))
    log = tmp_path / 'node0' / 'workerlog.0'
    wait_for(lambda: log.exists() and 'step 4 ' in log.read_text(), 90)
    os.kill(nodes[1].workers()[-1], signal.SIGKILL)
    assert [node.end()[0] for node in nodes] == [0, 0], log.read_text()
    run, = Path(cfg.SAVE).iterdir()
    assert 'start 2 of 2' in log.read_text() and rows(run, 'eval')[-1]['images'] == 10
    assert [row['step'] for row in rows(run, 'train')] == list(range(1, 13))


def test_a_process_that_the_kernel_has_killed_for_lack_of_memory_says_so():
    failed = [(1, -signal.SIGKILL)]
    assert supervisor._judge(failed, [], out_of_memory=True) == (75, 'process 1 was killed by SIGKILL, as memory ran out')


@pytest.mark.parametrize('value, error, words', [
    ('busy', TemporaryError, r'port \d+ \(FLAGS_START_PORT\) cannot be used: Address already'),
    ('65535', UserError, "'65535'; wanted the first of 2 ports, 1 to 65534"),
    ('abc', UserError, "'abc'"), ('', UserError, "''"), ('-1', UserError, "'-1'")])
def test_a_port_that_paddle_would_abort_at_is_named(monkeypatch, value, error, words):
    with socket.create_server(('', 0)) as server:
        monkeypatch.setenv('FLAGS_START_PORT', str(server.getsockname()[1]) if value == 'busy' else value)
        with pytest.raises(error, match=words):
            supervisor._start(None, (), 2)
