"""The two launchers, as a user starts them and as a program calls them. Several CPU processes talk over gloo."""
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from image_classification.cpu.operators import SWITCH
from image_classification.engine import launch
from image_classification.engine.processes import distributed
from image_classification.errors import UserError
from tests.engine.faults import end, fork, free_ports

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / 'image_classification'


def start(script, *flags, launcher=(), cwd=PROJECT):
    environment = {name: value for name, value in os.environ.items() if not name.startswith('PADDLE_') or name == SWITCH}
    return subprocess.run([sys.executable, *launcher, str(PACKAGE / script), *map(str, flags)], cwd=cwd, env=environment,
                          text=True, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)


@pytest.fixture
def flags(colours, tmp_path):
    return ['-cfg', 'mobilenet_v1_x0_25', '-dataset', 'folder', '-data_path', colours, '-num_classes', 2, '-image_size', 32,
            '-batch_size', 4, '-num_workers', 0, '-epochs', 1, '-log_freq', 1, '-output', tmp_path / 'out',
            '-opts', 'EXPORT', 'False', 'TRAIN.COLOR_JITTER', '0', 'DATA.CROP_PCT', '1.0']


def only_run(flags):
    run, = Path(flags[flags.index('-output') + 1]).iterdir()
    return run


def rows(run, kind):
    return [row for row in map(json.loads, (run / 'metrics.jsonl').read_text().splitlines()) if row['kind'] == kind]


def test_one_device_trains_and_prints_where_everything_is_also_from_inside_the_package(flags):
    done = start('main_single_gpu.py', '-threads', 1, *flags, cwd=PACKAGE)   # beside modules with names of Python's own
    assert done.returncode == 0, done.stderr
    for word in ('top-1', 'checkpoint', 'log', 'classify', 'images/s'):
        assert word in done.stdout
    assert len(rows(only_run(flags), 'train')) == 6


def test_two_processes_train_on_all_images_and_count_each_test_image_once(flags, tmp_path):
    arguments = ['-ngpus', '2', *map(str, flags)]
    assert end(fork(lambda: launch.multi(arguments), tmp_path / 'log'), 0) == 0, (tmp_path / 'log').read_text()
    run = only_run(flags)
    assert len(rows(run, 'train')) == 3 and rows(run, 'eval')[0]['images'] == 10
    lines = (tmp_path / 'log').read_text().splitlines()
    told = [line for line in lines if 'top-1' in line and not line.startswith('warning')]
    assert len(told) == 2                                          # the evaluation and the summary, by one process only


@pytest.mark.slow
def test_runs_under_paddles_own_launcher(flags, tmp_path):
    """python -m pytest -m slow tests/engine/test_launch.py; processes in the environment that it makes are in every run: faults.py."""
    port, = free_ports(1)                                          # and the next one; without it, 6070
    launcher = ('-m', 'paddle.distributed.launch', '--nproc_per_node', '2', '--start_port', str(port),
                '--log_dir', str(tmp_path / 'logs'))
    done = start('main_multi_gpu.py', *flags, launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert rows(only_run(flags), 'eval')[0]['images'] == 10


def test_a_user_error_is_one_line_and_exit_code_1(flags, capsys):
    with pytest.raises(SystemExit) as caught:
        launch.single([*map(str, flags), 'TRAIN.BASE_RL', '1'])
    line, = capsys.readouterr().err.splitlines()
    assert caught.value.code == 1 and line.startswith('error: ') and 'TRAIN.BASE_LR' in line


def test_one_process_needs_no_child_but_for_a_supervisor(flags, monkeypatch):
    class Started(Exception):
        pass

    def start_child(process):                                      # Paddle's processes are started by the same method
        raise Started
    monkeypatch.setattr(multiprocessing.process.BaseProcess, 'start', start_child)
    monkeypatch.setenv('PYTHONWARNINGS', '')                       # which the supervisor changes
    flags = list(map(str, flags))
    for options in (['-ngpus', '2'], ['-max_restarts', '1']):
        with pytest.raises(Started):
            launch.multi([*options, *flags])
    launch.multi(flags)
    assert rows(only_run(flags), 'eval')


@pytest.mark.parametrize('ngpus', [0, -2])
def test_a_number_of_processes_below_one_is_refused(ngpus):
    with pytest.raises(UserError, match='-ngpus'):
        distributed.world_size_for(ngpus)
