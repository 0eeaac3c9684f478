"""What a process that imports the library finds changed: nothing, until it asks for it."""
import json
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import image_classification as ic
from image_classification.cpu import settings
from image_classification.cpu.settings import cpu_features, mkl_cpu_type

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(str(path.relative_to(ROOT)) for pattern in ('tools/*.py', 'image_classification/main_*.py')
                  for path in ROOT.glob(pattern) if 'torch' not in path.name)
# Prints for each command [its path, MKL_DEBUG_CPU_TYPE, GLOG_minloglevel, whether mallopt was called, whether warnings are
# filtered] at the moment in which it imports Paddle, if it does. Each runs in a copy of this process, which ends there.
WATCH = '''
import ctypes, json, os, runpy, sys, warnings
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == 'paddle':
            told = [os.environ.get('MKL_DEBUG_CPU_TYPE'), os.environ.get('GLOG_minloglevel'), len(calls) >= 3,
                    any(message and message.match('No ccache found') for _, message, *_ in warnings.filters)]
            print(json.dumps([command, *told]), file=out, flush=True)
            os._exit(0)
out, sys.stdout = sys.stdout, open(os.devnull, 'w')
calls = []
class Library:
    def __init__(self, name): self.malloc = lambda size: None
    def mallopt(self, *args): return calls.append(args) or 1
ctypes.CDLL = Library
sys.meta_path.insert(0, Watch())
for command in sys.argv[1:]:
    if not os.fork():
        sys.argv = [command, '-h']
        sys.path[0] = os.path.dirname(command)
        try:
            runpy.run_path(command, run_name='__main__')
        except SystemExit as error:
            assert not error.code, error
        finally:
            os._exit(0)
    assert os.wait()[1] == 0, command
'''


def clean_environment():
    """That of these tests without what they, or a user, have set."""
    ours = 'MKL_', 'GLOG_', 'PADDLE_MOBILE', 'PYTHONWARNINGS'
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


def test_importing_the_package_changes_nothing():
    code = '''
import ctypes, os, sys, warnings
ctypes.CDLL, before = None, (dict(os.environ), list(warnings.filters))
import image_classification as ic
assert ic.__version__ and 'create_model' in dir(ic)
assert (dict(os.environ), warnings.filters) == before and 'paddle' not in sys.modules
'''
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=clean_environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.skipif(not hasattr(os, 'fork') or platform.libc_ver()[0] != 'glibc', reason='the processes are forked')
def test_every_command_makes_the_settings_before_it_imports_paddle():
    done = subprocess.run([sys.executable, '-c', WATCH, *COMMANDS], cwd=ROOT, env=clean_environment(), capture_output=True,
                          text=True)
    assert (done.returncode, done.stderr) == (0, '')
    found = [json.loads(line) for line in done.stdout.splitlines()]
    kind = mkl_cpu_type(cpu_features()) or None
    assert [row for row in found if row[1:] != [kind, '2', True, True]] == []
    assert len(found) >= 10 and {'tools/predict.py', 'image_classification/main_multi_gpu.py'} <= {row[0] for row in found}


@pytest.fixture
def machine(monkeypatch):
    """machine(libc, processor, flags): tune_cpu() finds itself on this one; gives the calls of mallopt."""
    calls = []

    class Library:
        def __init__(self, name):
            self.malloc = lambda size: None                        # as where a process may not have many addresses

        def mallopt(self, *args):
            calls.append(args)
            return 1

    def be(libc='glibc', features=('avx2', 'avx512bw')):
        monkeypatch.setattr(settings.platform, 'libc_ver', lambda: (libc, '1.2'))
        monkeypatch.setattr(settings.ctypes, 'CDLL', Library)
        monkeypatch.setattr(settings, 'cpu_features', lambda: set(features))
        monkeypatch.delenv('MKL_DEBUG_CPU_TYPE', raising=False)
        return calls
    return be


def test_it_says_what_it_did(machine):
    calls = machine()
    done = ic.tune_cpu()
    assert list(done) == ['MKL_DEBUG_CPU_TYPE', 'mallopt'] and os.environ['MKL_DEBUG_CPU_TYPE'] == '7' and len(calls) == 3
    assert done['MKL_DEBUG_CPU_TYPE'].startswith('set to 7') and done['mallopt'].startswith('set')
    assert ic.tune_cpu()['MKL_DEBUG_CPU_TYPE'] == 'kept: 7'


@pytest.mark.skipif(not Path('/sys/kernel/mm/transparent_hugepage').exists(), reason='this system has no huge pages')
def test_malloc_gets_huge_pages():
    code = """
import image_classification as ic
assert 'in huge pages' in ic.tune_cpu()['mallopt']
parts = open('/proc/self/smaps').read().split('[heap]')[1:]
assert any(' hg' in part.split('VmFlags:')[1].splitlines()[0] for part in parts), parts
"""
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT, env=clean_environment())


def test_it_says_that_it_may_come_too_late(machine, monkeypatch):
    machine()
    assert 'computed' in ic.tune_cpu()['MKL_DEBUG_CPU_TYPE']       # Paddle is imported in these tests
    monkeypatch.delenv('MKL_DEBUG_CPU_TYPE')
    monkeypatch.delitem(sys.modules, 'paddle')
    assert ic.tune_cpu()['MKL_DEBUG_CPU_TYPE'] == 'set to 7'


def test_one_variable_switches_them_off(machine, monkeypatch):
    calls = machine()
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_PLAIN', '1')
    assert all(said.startswith('not changed: PADDLE_MOBILE_BACKBONES_PLAIN') for said in ic.tune_cpu().values())
    assert 'MKL_DEBUG_CPU_TYPE' not in os.environ and not calls


def test_what_the_user_has_set_is_kept(machine, monkeypatch):
    machine()
    monkeypatch.setenv('MKL_DEBUG_CPU_TYPE', '4')
    assert ic.tune_cpu()['MKL_DEBUG_CPU_TYPE'] == 'kept: 4' == f'kept: {os.environ["MKL_DEBUG_CPU_TYPE"]}'


def test_nothing_is_set_where_it_does_not_apply(machine):
    calls = machine('musl', [])
    assert all(said.startswith('not changed') for said in ic.tune_cpu().values())
    assert 'MKL_DEBUG_CPU_TYPE' not in os.environ and not calls


@pytest.mark.parametrize('features, kind', [
    ({'avx2', 'avx512bw'}, '7'), ({'avx', 'avx2', 'fma'}, '5'), ({'avx'}, ''), (set(), '')])
def test_mkl_is_told_the_instruction_set_that_the_processor_has(features, kind):
    """AMD's processors before Zen 4 have no AVX-512: with its code a convolution of EdgeNeXt ended the process with SIGILL."""
    assert mkl_cpu_type(features) == kind


def test_another_processor_has_no_such_features(monkeypatch):
    monkeypatch.setattr(platform, 'machine', lambda: 'aarch64')
    assert cpu_features() == set()


def test_what_paddle_says_at_every_import_is_for_no_command(monkeypatch):
    monkeypatch.setenv('PYTHONWARNINGS', 'error::DeprecationWarning')
    monkeypatch.setenv('GLOG_minloglevel', '0')
    with warnings.catch_warnings(record=True) as said:
        settings.quieten()
        settings.quieten()
        warnings.warn('No ccache found. Please be aware ...')
    assert said == [] and os.environ['GLOG_minloglevel'] == '0'
    assert os.environ['PYTHONWARNINGS'] == 'error::DeprecationWarning,ignore:No ccache found'   # of the processes it starts


def test_commands_warn_on_one_line(monkeypatch, capsys):
    monkeypatch.setattr(warnings, 'formatwarning', warnings.formatwarning)
    settings.quieten()
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        for category in (UserWarning, DeprecationWarning):
            print(warnings.formatwarning('of something', category, 'a.py', 7), end='')
    assert capsys.readouterr().out == 'warning: of something\na.py:7: DeprecationWarning: of something\n'
