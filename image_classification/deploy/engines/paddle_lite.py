"""Paddle-Lite on the CPU, through its Python package paddlelite, whose newest version is for Python 3.7."""
import contextlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

from image_classification.deploy.engines import lite_process
from image_classification.deploy.engines.interface import Engine
from image_classification.errors import UserError
from image_classification.files import temporary_directory

VARIABLE = 'PADDLE_LITE_PYTHON'                                    # the path of a Python 3.7 with the package paddlelite

_HOW = ('Make one: python3.7 -m venv lite && lite/bin/pip install paddlelite numpy; '
        'export PADDLE_LITE_PYTHON=$PWD/lite/bin/python')


class PaddleLite(Engine):
    """Converts the program of an export for x86, and runs it with Paddle-Lite in Python 3.7. It serves one thread at a time."""

    name, module, extra = 'paddlelite', 'paddlelite', None

    def __init__(self, directory, threads=None, bf16=False):
        super().__init__(directory, **directory.input())
        if bf16:
            raise UserError('paddlelite computes in float32 on a CPU; wanted openvino or paddle_inference for bfloat16')
        program, weights, _ = map(str, directory.files(self.name))
        self._lock = threading.Lock()
        with temporary_directory() as scratch:
            convert(program, weights, Path(scratch) / 'x86', 'x86')
            wanted = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS'), str(threads)) if threads else {}
            self._log = open(Path(scratch) / 'log', 'w+b')         # not a pipe, which would fill up unread
            self._process = subprocess.Popen(_command('run', Path(scratch) / 'x86.nb'), env={**os.environ, **wanted},
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
            self.outputs = [f'output_{i}' for i in range(int(self._answer()))]     # Paddle-Lite's own names are not stable

    @classmethod
    def installed(cls):
        with contextlib.suppress(UserError):                       # opening this engine reports it
            return python_of_paddle_lite() is not None
        return False

    @classmethod
    def missing(cls):
        return UserError(f'paddlelite is not installed: neither {VARIABLE} nor pyenv nor PATH has a Python 3.7 with it. '
                         f'{_HOW}')

    @classmethod
    def version(cls):
        found = sorted(_packages(python_of_paddle_lite()).glob('paddlelite-*.dist-info'))
        return found[0].stem.split('-')[1] if found else 'unknown'

    def _answer(self):
        array = lite_process.read(self._process.stdout)
        if array is None:
            self._log.seek(0)
            raise UserError(f'Paddle-Lite ends without an answer: {_reason(self._log.read().decode(errors="replace"))}')
        return array

    def _run(self, images):
        with self._lock:
            with contextlib.suppress(OSError):                     # the process has ended; `_answer` reports why
                lite_process.write(self._process.stdin, [images])
            return [self._answer() for _ in self.outputs]

    def __del__(self):
        process = getattr(self, '_process', None)
        if process:
            with contextlib.suppress(OSError):
                process.stdin.close()                              # ends the process
            process.stdout.close()
            process.wait()
            self._log.close()


def python_of_paddle_lite():
    """The path of a Python 3.7 that has paddlelite: the one named by PADDLE_LITE_PYTHON, one of pyenv's, or the one on PATH.
    None if there is none.

    Raises:
        UserError: PADDLE_LITE_PYTHON is set, but to no Python 3.7 with paddlelite.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not _has_package(named):
            raise UserError(f'{VARIABLE} is {named}; wanted the path of a Python 3.7 with the package paddlelite. {_HOW}')
        return named
    root = Path(os.environ.get('PYENV_ROOT') or Path.home() / '.pyenv')
    found = [*map(str, sorted(root.glob('versions/3.7.*/bin/python'))), shutil.which('python3.7')]
    return next((python for python in found if python and _has_package(python)), None)


def _has_package(python):
    """Whether a Python has paddlelite. Looks at its files, because starting it takes long."""
    return Path(python).is_file() and (_packages(python) / 'paddlelite').is_dir()


def _packages(python):
    return Path(python).parent.parent / 'lib' / 'python3.7' / 'site-packages'


def convert(program, weights, out, targets):
    """Write OUT.nb with Paddle-Lite's opt. Raises UserError with opt's reason if it refuses."""
    done = subprocess.run(_command('convert', program, weights, targets, out), capture_output=True, text=True, errors='replace',
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        raise UserError(f'the opt of Paddle-Lite refuses the program: {_reason(done.stdout + done.stderr)}')


def _command(*words):
    return [python_of_paddle_lite(), lite_process.__file__, *map(str, words)]


def _reason(log):
    """The line of Paddle-Lite's log that says why it gave up."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(('[F', 'Error', 'ValueError', 'ModuleNotFoundError', 'ImportError'))]
    return (telling or lines or ['no reason given'])[-1].split('Check failed: ')[-1][:300]
