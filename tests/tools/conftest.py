import contextlib
import importlib
import io
import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.deploy.conftest import CLASSES, children_in_process, pictures, save, trained, with_statistics  # noqa: F401

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def load_tool(name):
    """The module tools/<name>.py."""
    return importlib.import_module(name)


@pytest.fixture(autouse=True)
def quick_exports():
    """What a tool exports within the test's process, it verifies there, too."""
    with children_in_process():
        yield


@pytest.fixture(scope='session')
def run_tool():
    """run_tool('predict.py', *arguments, cwd=..., stdin=bytes): what a process with this command would end as, its output as
    text; it runs in this process."""
    def run(name, *arguments, cwd=None, stdin=b''):
        arguments, code = list(map(str, arguments)), 0
        out, err = (io.TextIOWrapper(io.BytesIO(), 'utf-8', 'surrogateescape', write_through=True) for _ in range(2))
        given, place = sys.stdin, os.getcwd()
        try:
            sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
            os.chdir(cwd or place)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                load_tool(name.removesuffix('.py')).main(arguments)
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdin = given
            os.chdir(place)
        return CompletedProcess([name, *arguments], code, *(stream.buffer.getvalue().decode() for stream in (out, err)))
    return run


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
def network():
    return with_statistics('mobilenet_v3_small_x0_5')


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
