import contextlib
import importlib
import io
import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.exports import CLASSES, children_in_process, save

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def load_tool(name):
    """The module tools/<name>.py."""
    return importlib.import_module(name)


@pytest.fixture(autouse=True)
def quick_exports():
    """What a tool exports within the test's process, it verifies there, too."""
    with children_in_process():
        yield


def run_module(module, arguments, cwd=None, stdin=b''):
    """What a process that runs this tool would end as, its output as text; it runs in this process."""
    arguments, code = list(map(str, arguments)), 0
    out, err = (io.TextIOWrapper(io.BytesIO(), 'utf-8', 'surrogateescape', write_through=True) for _ in range(2))
    given, place = sys.stdin, os.getcwd()
    try:
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
        os.chdir(cwd or place)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = module.main(arguments) or 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdin = given
        os.chdir(place)
    return CompletedProcess([module.__name__, *arguments], code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


@pytest.fixture(scope='session')
def run_tool():
    """run_tool('predict.py', *arguments, cwd=..., stdin=bytes): how the process ended."""
    return lambda name, *arguments, **given: run_module(load_tool(name.removesuffix('.py')), arguments, **given)


@pytest.fixture(scope='session')
def call_tool():
    """call_tool(module, *arguments): (exit code, standard output, standard error) of a tool within this process."""
    def call(module, *arguments):
        done = run_module(module, arguments)
        return done.returncode, done.stdout, done.stderr
    return call


@pytest.fixture(scope='session')
def network(small):
    return small


@pytest.fixture(scope='session')
def checkpoint(network, tmp_path_factory):
    return save(network, CLASSES, tmp_path_factory.mktemp('run') / 'best.safetensors')


@pytest.fixture(scope='session')
def exported(run_tool, checkpoint):
    """(finished process of an export with default arguments, the directory that it wrote)"""
    with children_in_process():
        done = run_tool('export.py', checkpoint)
    assert done.returncode == 0, done.stderr
    return done, checkpoint.parent / 'export'
