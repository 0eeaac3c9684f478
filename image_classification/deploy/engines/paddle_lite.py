"""Paddle-Lite on this computer's processor, by its package for Python 3.7: the newest that there is."""
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

VARIABLE = 'PADDLE_LITE_PYTHON'                                    # names a Python 3.7 that has the package paddlelite

_HOW = ('Make one: python3.7 -m venv lite && lite/bin/pip install paddlelite numpy; '
        'export PADDLE_LITE_PYTHON=$PWD/lite/bin/python')


class PaddleLite(Engine):
    """The program of an export, converted for x86 and run by Paddle-Lite in a Python 3.7; one call after the other."""

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
            self._log = open(Path(scratch) / 'log', 'w+b')         # a pipe that nobody reads would fill
            self._process = subprocess.Popen(_command('run', Path(scratch) / 'x86.nb'), env={**os.environ, **wanted},
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
            self.outputs = [f'output_{i}' for i in range(int(self._answer()))]     # Paddle-Lite gives them no lasting names

    @classmethod
    def installed(cls):
        with contextlib.suppress(UserError):                       # who asks for this engine, hears of it
            return python_of_paddle_lite() is not None
        return False

    @classmethod
    def missing(cls):
        return UserError(f'paddlelite is not installed: {VARIABLE}, pyenv and the path lead to no Python 3.7 with it; wanted one. '
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
            with contextlib.suppress(OSError):                     # it has ended, and says why
                lite_process.write(self._process.stdin, [images])
            return [self._answer() for _ in self.outputs]

    def __del__(self):
        process = getattr(self, '_process', None)
        if process:
            with contextlib.suppress(OSError):
                process.stdin.close()                              # at which it ends
            process.stdout.close()
            process.wait()
            self._log.close()


def python_of_paddle_lite():
    """The path of a Python 3.7 that has paddlelite: the one that PADDLE_LITE_PYTHON names, or one of pyenv's, or on the path.
    None where there is none.

    Raises:
        UserError: the one that the variable names has none.
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
    """Seen from outside: to start it would take its time."""
    return Path(python).is_file() and (_packages(python) / 'paddlelite').is_dir()


def _packages(python):
    return Path(python).parent.parent / 'lib' / 'python3.7' / 'site-packages'


def convert(program, weights, out, targets):
    """Write OUT.nb by the opt of Paddle-Lite. Raises UserError with its reason where it refuses."""
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
