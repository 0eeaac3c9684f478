import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.conftest import checkpoint, network, pictures  # noqa: F401

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture(scope='session')
def run_tool():
    """run_tool('predict.py', *arguments, cwd=..., timeout=seconds, stdin=file): the finished process; its output is text."""
    def run(name, *arguments, cwd=None, timeout=120, stdin=None):
        command = [sys.executable, str(TOOLS / name), *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, encoding='utf-8', timeout=timeout, stdin=stdin)
    return run


def load_tool(name):
    """The module tools/<name>.py."""
    return importlib.import_module(name)


@pytest.fixture
def call_tool(capfdbinary):
    """call_tool(module, *arguments): (exit code, standard output, standard error) of a tool within this process."""
    def run(module, *arguments):
        try:
            code = module.main(list(map(str, arguments))) or 0
        except SystemExit as end:
            code = end.code
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()
    return run


@pytest.fixture(scope='session')
def exported(run_tool, checkpoint):  # noqa: F811
    """(finished process of an export with default arguments, the directory that it wrote)"""
    done = run_tool('export.py', checkpoint)
    assert done.returncode == 0, done.stderr
    return done, checkpoint.parent / 'export'
