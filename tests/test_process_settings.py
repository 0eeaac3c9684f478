"""What is set in a process before Paddle is imported. Each case is a process of its own."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from image_classification.cpu.settings import cpu_features, mkl_cpu_type

ROOT = Path(__file__).resolve().parents[1]
# Notes MKL_DEBUG_CPU_TYPE and the calls of mallopt at the moment in which something imports paddle, and ends there.
WATCH = '''
import ctypes, os, platform, runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == 'paddle':
            print('paddle', os.environ.get('MKL_DEBUG_CPU_TYPE'), len(calls), flush=True)
            os._exit(0)
calls = []
class Library:
    def __init__(self, name): pass
    def mallopt(self, *args): calls.append(args)
ctypes.CDLL = Library
sys.meta_path.insert(0, Watch())
'''
TOOLS = sorted(path.name for path in (ROOT / 'tools').glob('*.py') if 'torch' not in path.name)


def at_paddle(code, **environment):
    """[MKL_DEBUG_CPU_TYPE, number of calls of mallopt] when `code` imports paddle, or [] if it does not."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(('MKL_', 'PADDLE_MOBILE', 'PYTHONPATH'))}
    result = subprocess.run([sys.executable, '-c', WATCH + code], cwd=ROOT, env={**kept, **environment}, capture_output=True,
                            text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()[1:3]


KIND = mkl_cpu_type(cpu_features()) or 'None'
GLIBC = 'platform.libc_ver = lambda *args: ("glibc", "2.36"); platform.machine = lambda: "x86_64"\n'
PACKAGE = 'import image_classification'


def test_the_package_sets_them_before_it_imports_paddle():
    assert at_paddle(GLIBC + PACKAGE) == [KIND, '3']


@pytest.mark.parametrize('tool', TOOLS)
def test_no_tool_imports_paddle_before_they_are_set(tool):
    assert at_paddle(GLIBC + f'runpy.run_path("tools/{tool}", run_name="tool")') in ([KIND, '3'], [])


@pytest.mark.parametrize('name', ['main_single_gpu', 'main_multi_gpu'])
def test_training_sets_them(name):
    code = f'sys.argv = ["{name}.py", "-h"]; runpy.run_path("image_classification/{name}.py", run_name="__main__")'
    assert at_paddle(GLIBC + code) == [KIND, '3']


def test_one_variable_switches_them_off():
    assert at_paddle(GLIBC + PACKAGE, PADDLE_MOBILE_BACKBONES_PLAIN='1') == ['None', '0']


def test_what_the_user_has_set_is_kept():
    assert at_paddle(GLIBC + PACKAGE, MKL_DEBUG_CPU_TYPE='5') == ['5', '3']


@pytest.mark.parametrize('libc, machine, found', [
    (('musl', '1.2'), 'x86_64', [KIND, '0']), (('', ''), 'AMD64', [KIND, '0']), (('', ''), 'arm64', ['None', '0']),
    (('glibc', '2.36'), 'aarch64', ['None', '3'])])
def test_nothing_is_set_where_it_does_not_apply(libc, machine, found):
    assert at_paddle(f'platform.libc_ver = lambda *args: {libc}; platform.machine = lambda: "{machine}"\n' + PACKAGE) == found


@pytest.mark.parametrize('features, kind', [({'avx2', 'avx512bw'}, '7'), ({'avx', 'avx2', 'fma'}, '5'), ({'avx'}, ''), (set(), '')])
def test_mkl_is_told_the_instruction_set_that_the_processor_has(features, kind):
    """AMD's processors before Zen 4 have no AVX-512: with its code a convolution of EdgeNeXt ended the process with SIGILL."""
    assert mkl_cpu_type(features) == kind
