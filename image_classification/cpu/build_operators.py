"""Compile the optional operators for a CPU: python -m image_classification.cpu.build_operators

Needs a C++ compiler. It takes about half a minute, once for each version of Paddle. See `cpu/operators.py`.
"""
import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from image_classification.errors import UserError, ends_with_parent, exit_with_message
from image_classification.files import temporary_directory, write_atomically
from image_classification.cpu import operators

# Run in a separate process, because Paddle ends the process when a compilation fails.
COMPILE = '''
import sys
from paddle.utils.cpp_extension import load
load(name='mobile_backbones', sources=[sys.argv[1]], build_directory=sys.argv[2], extra_ldflags=['-fopenmp'], verbose=True,
     extra_cxx_cflags=['-O3', '-fopenmp', '-fno-math-errno'])
'''


def build():
    """Compile the operators into the cache and return the path of the library.

    Raises:
        UserError: the compilation failed; the message has the compiler's last lines.
    """
    library = operators.library_path()
    with temporary_directory() as folder:
        result = subprocess.run([sys.executable, '-c', COMPILE, str(operators.SOURCE), str(folder)], capture_output=True, text=True,
                                preexec_fn=ends_with_parent(signal.SIGKILL))
        made = sorted(Path(folder).rglob('*.so'))
        if result.returncode or not made:
            lines = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
            raise UserError('the operators could not be compiled; wanted a C++ compiler that Paddle supports (g++ on Linux), '
                            'and the Python headers. Everything works without the operators, but slower. The last lines were:\n'
                            + '\n'.join(lines[-8:]))
        library.parent.mkdir(parents=True, exist_ok=True)
        advice = 'Set PADDLE_MOBILE_BACKBONES_HOME to a folder that can be written.'
        write_atomically(library, lambda path: shutil.copyfile(made[0], path), advice)
    write_atomically(operators.digest_path(library), lambda path: path.write_text(operators.digest(library)), advice)
    return library


def build_in_background(announce=lambda: None):
    """Start compiling the operators, unless they exist already, are switched off, or there is no compiler.

    Args:
        announce: called without arguments when a compilation starts.
    Returns:
        A function that waits for the end, and returns whether this process has the operators.
    """
    wanted = os.environ.get(operators.SWITCH) != '0' and shutil.which('g++') and not operators.loaded()
    if wanted:
        announce()
    thread = threading.Thread(target=_try_to_build, daemon=True) if wanted else None
    if thread:
        thread.start()

    @lru_cache
    def ready():
        if thread:
            thread.join()
            operators.loaded.cache_clear()                         # only once: a process can load a library only once
        return operators.loaded()
    return ready


def _try_to_build():
    with contextlib.suppress(UserError, OSError):                  # everything works without them
        build()


@exit_with_message
def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(f'compiled {build()}')


if __name__ == '__main__':
    main()
