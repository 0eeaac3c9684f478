"""How a command ends: one line, the documented code, nothing left."""
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from image_classification import errors
from image_classification.errors import UserError, exit_with_message, out_of_memory, ran_out_of_memory, undisturbed
from image_classification.files import temporary_directory

PROJECT = Path(__file__).resolve().parents[1]
PADDLE = MemoryError('\n----\nC++ Traceback (most recent call last):\n----\nError Message Summary:\nResourceExhaustedError: Fail to '
                     'alloc memory of 4294967296 size, error code is 12.\n  [Hint: Expected error == 0, but received error:12 != 0:0.]')
GPU = MemoryError('ResourceExhaustedError: \n\nOut of memory error on GPU 0. Cannot allocate 3.500000GB memory on GPU 0, 70 GB '
                  'memory has been allocated')


SPEAKS = """
import sys
from image_classification.errors import exit_with_message
def main():
    print('line')
    sys.stdout.flush()
    print('line ' * 99999)
    sys.exit(0)
exit_with_message(main)()
"""


@pytest.fixture(autouse=True)
def signals_as_at_a_terminal():
    """What the shell that has started the tests does with them (it ignores some in the background, or below nohup) is not asked."""
    numbers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ended(main, capsys):
    """(exit code, lines on standard error) of a command."""
    with pytest.raises(SystemExit) as caught:
        exit_with_message(main)()
    return caught.value.code, capsys.readouterr().err.splitlines()


def fails(error):
    def main():
        raise error
    return main


@pytest.mark.parametrize('error, size', [
    (PADDLE, '4.00 GiB'), (GPU, '3.5 GB'), (MemoryError('Unable to allocate 3.64 TiB for an array with shape (1,)'), '3.64 TiB'),
    (MemoryError(), None), (OSError(errno.ENOMEM, 'Cannot allocate memory'), None), (RuntimeError('std::bad_alloc'), None)])
def test_out_of_memory_is_one_line(capsys, error, size):
    code, (line,) = ended(fails(error), capsys)
    assert code == 75 and line.startswith('error: memory ran out') and 'Hint' not in line
    assert f' ({size} more were wanted). ' in line if size else ' (' not in line


def test_what_the_system_refuses_is_one_line(capsys):
    assert ended(lambda: open('/nowhere/file'), capsys) == (1, ['error: /nowhere/file: No such file or directory'])
    assert ended(fails(OSError(errno.ENOSPC, 'No space left on device')), capsys) == (1, ['error: the output: No space left on device'])


@pytest.mark.parametrize('where, code, said', [('>&-', 0, ''), ('> /dev/full', 1, 'error: the output: No space left on device\n'),
                                               ('| head -1', 141, ''), ('2>&1 | head -1', 141, '')])
def test_an_output_that_takes_nothing(where, code, said):
    """A command that says more than anybody reads."""
    command = f'{sys.executable} -c "{SPEAKS}" {where}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(['bash', '-c', command], cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (code, said)


def test_other_errors_are_no_lack_of_memory():
    assert not any(map(ran_out_of_memory, (ValueError('memory'), OSError(errno.ENOSPC, 'No space left on device'))))
    with pytest.raises(KeyError):
        exit_with_message(fails(KeyError('a fault of ours')))()
    assert 'memory ran out' in str(out_of_memory(MemoryError()))


@pytest.mark.parametrize('number, code, lines', [(signal.SIGINT, 130, ['interrupted']), (signal.SIGTERM, 143, []),
                                                 (signal.SIGHUP, 129, [])])
def test_a_signal_ends_a_command_after_it_has_tidied_up(capsys, number, code, lines):
    before, left = signal.getsignal(number), []

    def main():
        with temporary_directory() as directory:
            left.append(directory)
            signal.raise_signal(number)
            left.append('it went on')
    assert ended(main, capsys) == (code, lines)
    assert len(left) == 1 and not left[0].exists() and signal.getsignal(number) is before


def test_a_signal_waits_for_what_must_not_end_half_way(capsys):
    done = []

    def main():
        with undisturbed():
            signal.raise_signal(signal.SIGTERM)
            done.append('to its end')
        done.append('and no further')
    assert ended(main, capsys) == (143, []) and done == ['to its end']


def test_a_signal_that_somebody_has_swallowed_is_heeded_at_the_end(capsys):
    def main():
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException:                                      # as where C++ calls Python
            pass
    assert ended(main, capsys) == (130, ['interrupted'])


def test_the_same_request_once_more_does_not_disturb_the_tidying_up(capsys):
    def main():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
    assert ended(main, capsys) == (143, [])


def test_below_nohup_a_closed_terminal_is_none_of_its_business():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert exit_with_message(lambda: signal.raise_signal(signal.SIGHUP) or 'done')() == 'done'
    finally:
        signal.signal(signal.SIGHUP, before)


class Closed:
    """A stream whose reader is gone."""

    def __init__(self):
        reader, self.descriptor = os.pipe()
        os.close(reader)

    def fileno(self):
        return self.descriptor

    def write(self, text):
        os.write(self.descriptor, text.encode())

    def flush(self):
        self.write(' ')


def test_an_output_that_nobody_reads_ends_it_quietly_wherever_it_goes(monkeypatch):
    for name in ('stdout', 'stderr'):
        monkeypatch.setattr(sys, name, Closed())
    for main in (lambda: sys.stdout.write('text'), fails(UserError('read by nobody')), fails(BrokenPipeError())):
        with pytest.raises(SystemExit) as caught:
            exit_with_message(main)()
        assert caught.value.code in (errors.READER_GONE, 1)
    sys.stdout.write('goes nowhere now')
    assert caught.value.code == 141


@pytest.mark.parametrize('script', ['image_classification/main_single_gpu.py', 'image_classification/main_multi_gpu.py',
                                    'tools/export.py'])
def test_ctrl_c_while_paddle_is_imported_is_one_word(script):
    with subprocess.Popen([sys.executable, PROJECT / script, '-h'], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not catches(process.pid, signal.SIGTERM):            # Python itself catches SIGINT alone
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        assert process.communicate()[1] == b'interrupted\n' and process.returncode == 130


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    mask = next(line for line in Path(f'/proc/{pid}/status').read_text().splitlines() if line.startswith('SigCgt'))
    return bool(int(mask.split()[1], 16) >> number - 1 & 1)


@pytest.mark.parametrize('what, words', [
    ('the page needs gradio, which', 'which is not installed. Install it'), ('VISUAL is a, but b', 'b is not installed.'),
    ('--format onnx needs onnx, onnxruntime, which', 'onnxruntime, which are not installed. Install them')])
def test_several_missing_packages_are_several(what, words):
    assert words in str(errors.missing_package(what, 'x'))
