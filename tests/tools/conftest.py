import importlib.util
import os
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
        environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding='utf-8', timeout=timeout,
                              stdin=stdin)
    return run


def load_tool(name):
    """The module tools/<name>.py."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call_tool(monkeypatch, capfdbinary):
    """call_tool(module, *arguments): (exit code, standard output, standard error) of a tool within this process."""
    def run(module, *arguments):
        monkeypatch.setattr('sys.argv', [f'{module.__name__}.py', *map(str, arguments)])
        try:
            code = module.main() or 0
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
