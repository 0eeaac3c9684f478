import json
import os
import pty
import select
import sys
import time

import paddle

import image_classification as ic
from image_classification.engine import run_directory
from image_classification.engine.run_log import RunLog


def test_the_bar_shows_loss_speed_and_time_left_on_a_terminal_that_tells_no_size(tmp_path, monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave, 'w') as terminal:
        monkeypatch.setattr(sys, 'stderr', terminal)
        log = RunLog(tmp_path, total_steps=4)
        for _ in range(3):
            time.sleep(0.2)
            log.step(7, paddle.to_tensor(0.125), 0.003, lambda: (321.0, 0.02))
        log.close()
        terminal.flush()
        shown = b''
        while select.select([master], [], [], 1)[0]:               # one read may give a part only
            shown += os.read(master, 10000)
        shown = shown.decode()
    os.close(master)
    assert 'epoch 7 3/4 |' in shown and '00:00 left' in shown
    assert 'loss 0.125, lr 0.003, 321 images/s, wait 2%' in shown


def test_a_log_without_a_terminal_is_plain_lines(tmp_path, capsys):
    log = RunLog(tmp_path, total_steps=4)
    log.step(1, paddle.to_tensor(1.0), 0.1, lambda: (1.0, 0.0))
    log.line('a line')
    log.metrics(kind='eval', top1=50.0)
    log.close()
    out, err = capsys.readouterr()
    assert out == 'a line\n' and err == ''
    assert (tmp_path / 'log.txt').read_text().endswith(' a line\n')
    assert json.loads((tmp_path / 'metrics.jsonl').read_text()) == {'kind': 'eval', 'top1': 50.0}


def test_processes_without_a_directory_keep_silent(capsys):
    log = RunLog(None, total_steps=4)
    log.line('a line')
    log.metrics(kind='eval')
    log.close()
    assert capsys.readouterr() == ('', '')


def test_runs_of_the_same_second_get_directories_of_their_own(tmp_path, monkeypatch):
    cfg = ic.get_config(None, {'SAVE': str(tmp_path)})

    class Stopped(run_directory.datetime):
        @classmethod
        def now(cls):
            return cls(2024, 1, 1)
    monkeypatch.setattr(run_directory, 'datetime', Stopped)
    names = [run_directory.new_run_directory(cfg).name for _ in range(3)]
    assert names == [f'train-mobileformer_26m-20240101-000000{end}' for end in ('', '-2', '-3')]


def test_auto_means_the_newest_run_of_this_model(tmp_path):
    cfg = ic.get_config('mobileformer_52m', {'SAVE': str(tmp_path), 'RESUME': 'auto'})
    other = tmp_path / 'train-mobileformer_26m-20240101-000000'
    other.mkdir()
    (other / 'last.safetensors').write_bytes(b'')
    assert run_directory.find_checkpoint(cfg) is None
