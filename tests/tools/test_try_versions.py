"""tools/maintenance/try_versions.py: which versions are tried, and what is said of each."""
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from image_classification.installation.missing_paddle import NEWEST, WANTED

import try_versions

PROJECT = Path(__file__).resolve().parents[2]


def test_every_minor_version_that_is_admitted_is_tried():
    admitted = [f'3.{minor}' for minor in range(20) if SpecifierSet(WANTED).contains(f'3.{minor}')]
    assert [version.rpartition('.')[0] for version in try_versions.PADDLES] == admitted and try_versions.PADDLES[-1] == NEWEST
    classifiers = (PROJECT / 'pyproject.toml').read_text(encoding='utf-8')
    assert all(f'Python :: {version}"' in classifiers for version in try_versions.PYTHONS)
    assert classifiers.count('Python :: 3.1') == len(try_versions.PYTHONS)
    assert try_versions.pairs(['a', 'b', 'c'], ['1', '2']) == [('a', '1'), ('a', '2'), ('b', '2'), ('c', '2')]


@pytest.mark.parametrize('last, words', [
    ('12 failed, 3 passed, 1 skipped in 3.40s', '12 failed, 3 passed, 1 skipped'),
    ('===== 5203 passed, 31 skipped in 512.01s (0:08:32) =====', '5203 passed, 31 skipped'),
    ('Fatal Python error: Segmentation fault', 'ended with exit code 139')])
def test_a_row_says_how_the_tests_ended(last, words):
    assert try_versions.verdict(f'....\n{last}\n', 139) == words


def test_a_row_that_fails_is_said_and_the_others_follow(tmp_path, monkeypatch, capsys):
    def run(command, **given):
        if 'venv' in command:
            return None
        if 'pip' in command and 'paddlepaddle==2' in command:
            raise subprocess.CalledProcessError(1, command)
        if 'pytest' in command:
            given['stdout'].write(f'{command[3:]}\n1 passed in 0.1s\n')
        return subprocess.CompletedProcess(command, 0)
    monkeypatch.setattr(try_versions.subprocess, 'run', run)
    monkeypatch.setattr(try_versions, 'interpreter', {'3.11': sys.executable}.get)
    code = try_versions.main(['--paddle', '2', '3', '--python', '3.11', '3.99', '--output', str(tmp_path), '--', 'tests/layers'])
    table = (tmp_path / 'versions.md').read_text(encoding='utf-8')
    assert code == 1 and capsys.readouterr().out.endswith(table)
    assert [row.split('|')[3].strip() for row in table.splitlines()[2:]] == [
        'could not be installed (exit code 1)', '1 passed', 'no python3.99 was found on this machine']
    assert "['tests/layers']" in (tmp_path / 'python3.11-paddle3.log').read_text()
    for _ in range(2):                                             # a row of the same pair is written over
        assert try_versions.main(['--pairs', '3.11/3.0', '--output', str(tmp_path)]) == 0
    added = (tmp_path / 'versions.md').read_text(encoding='utf-8').splitlines()
    assert added[:-1] == table.splitlines() and added[-1].startswith('| 3.11 | 3.0 | 1 passed | ')


def test_a_pair_is_a_python_and_a_paddlepaddle(capsys):
    args, words = try_versions.parse(['--pairs', '3.10/3.1.1', '3.12/3.2.2', '--', '-x'])
    assert args.pairs == [('3.10', '3.1.1'), ('3.12', '3.2.2')] and words == ['-x']
    with pytest.raises(SystemExit):
        try_versions.parse(['--pairs', '3.1.1'])
    assert "'3.1.1' is no pair; wanted PYTHON/PADDLEPADDLE, such as 3.10/3.1.1" in capsys.readouterr().err
