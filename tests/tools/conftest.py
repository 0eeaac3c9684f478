import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.conftest import checkpoint, network, pictures  # noqa: F401

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture(scope='session')
def run_tool():
    """run_tool('predict.py', *arguments, cwd=...): the finished process; its output is text."""
    def run(name, *arguments, cwd=None):
        command = [sys.executable, str(TOOLS / name), *map(str, arguments)]
        environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding='utf-8', timeout=120)
    return run


@pytest.fixture(scope='session')
def exported(run_tool, checkpoint):  # noqa: F811
    """(finished process of an export with default arguments, the directory that it wrote)"""
    done = run_tool('export.py', checkpoint)
    assert done.returncode == 0, done.stderr
    return done, checkpoint.parent / 'export'
