"""Exceptions that commands print as one line without a traceback, exit codes, and signals.

| code | meaning |
|---|---|
| 0 | success |
| 1 | error in the user's files, flags or configuration; the same command would fail again |
| 2 | the command line cannot be parsed |
| 75 | temporary failure, e.g. a process was killed; running it again may help, and `-max_restarts` does so |
| 129, 130, 143 | stopped by a closed terminal (SIGHUP), Ctrl-C or SIGTERM; a training has saved its state |
| 141 | the reader closed the pipe, as `... | head` does; a training has saved its state |
"""
import contextlib
import ctypes
import errno
import functools
import os
import re
import signal
import sys
import threading
import time

from image_classification.installation import how_to_install
from image_classification.installation.missing_paddle import MissingPaddle
from image_classification.names.text import let_streams_take_any_name

# Signals that ask a process to end. Windows has no SIGHUP, which a closed terminal sends.
ENDING = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))
SAME_REQUEST = 1.0                         # seconds in which signals count as one: terminal and launcher both pass on Ctrl-C
READER_GONE = 141                          # 128 + SIGPIPE
_PR_SET_PDEATHSIG = 1                      # <linux/prctl.h>


class UserError(ValueError):
    """An error in the user's files, flags or configuration. The message says what was found, what is wanted and what to do."""

    exit_code = 1


class TemporaryError(UserError):
    """A failure that is not caused by the configuration, e.g. a process died or hung. Running it again may help."""

    exit_code = 75                                                 # EX_TEMPFAIL of <sysexits.h>


def missing_package(what, extra):
    """Make the UserError for a package that is not installed. The caller raises it.

    Args:
        what: the package, or the beginning of a sentence that continues with "is not installed" ("are" for several packages),
            such as '... needs onnx, onnxruntime, which'.
        extra: the extra of setup.py that installs it.
    """
    several = re.search(r' needs \S+(, \S+)+, which$', what)
    return UserError(f'{what} {"are" if several else "is"} not installed. Install {"them" if several else "it"}'
                     f'{how_to_install(extra)}')


def ran_out_of_memory(error):
    """Whether an exception means that memory ran out: one of Python, of Paddle, or of a system call."""
    return (isinstance(error, MemoryError) or isinstance(error, OSError) and error.errno == errno.ENOMEM
            or any(words in str(error) for words in ('std::bad_alloc', 'ResourceExhausted')))


def out_of_memory(error):
    """Make a TemporaryError from an exception that means that memory ran out. Paddle's has twenty lines; one of them says how
    much memory was wanted."""
    wanted = re.search(r'alloc memory of (\d+) size|allocate ([\d.]+) ?([KMGTP]?i?B)', str(error))
    size = f' ({int(wanted[1]) / 2 ** 30:.2f} GiB more were wanted)' if wanted and wanted[1] else \
        f' ({float(wanted[2]):.4g} {wanted[3]} more were wanted)' if wanted else ''
    return TemporaryError(f'memory ran out{size}. Take a smaller batch, smaller images or fewer processes, or end other '
                          'programs')


def oom_kills():
    """Number of processes that the kernel has killed since boot because memory ran out; 0 if it is unknown."""
    with contextlib.suppress(OSError, ValueError), open('/proc/vmstat', encoding='ascii') as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith('oom_kill ')), 0)
    return 0


def complain(text):
    """Print a line to standard error, unless that is closed."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        forget_readers()


def forget_readers():
    """Redirect closed output streams to the null device, so that later output, also that of Python at its exit, cannot fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def catch_signals(handler, even_ignored=()):
    """Set `handler` for the signals that ask this process to end. Ignored signals stay ignored, like SIGHUP under nohup.

    Args:
        even_ignored: signals to handle even if they are ignored.
    Returns:
        {signal: previous handler}, for `restore_signals`; {} outside the main thread, because only that may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in ENDING}
    before = {number: known for number, known in before.items() if known is not signal.SIG_IGN or number in even_ignored}
    for number in before:
        signal.signal(number, handler)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)         # see `blocked_signals`
    return before


def restore_signals(before):
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)   # None: not set by Python


@contextlib.contextmanager
def blocked_signals():
    """Block signals that ask for an end in processes started within the block, until these call `catch_signals`. Before that,
    Python would print a traceback."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ends_with_parent(number):
    """A function for `preexec_fn`: it makes Linux send signal `number` to the new process when the thread that started it ends,
    even if that is killed. None on other systems."""
    if sys.platform != 'linux':
        return None
    prctl = ctypes.CDLL(None).prctl                                # looked up before the fork: little is safe after it
    return lambda: prctl(_PR_SET_PDEATHSIG, int(number))


def end_at_once(number, frame=None):
    """Signal handler for the start of a program, when nothing needs a clean-up yet. It raises no exception, because some
    modules that are being imported would take it for a missing package."""
    if number == signal.SIGINT:
        with contextlib.suppress(OSError):
            os.write(2, b'interrupted\n')
    os._exit(128 + number)


def expect_signals():
    """Call this in programs before other imports. Signals then end the program quietly until `exit_with_message` takes over,
    and a missing Paddle is reported in one line."""
    catch_signals(end_at_once)
    sys.meta_path.insert(0, _Imports)
    sys.excepthook = _without_traceback


def _without_traceback(kind, error, traceback):
    if is_of_paddle(error):
        complain(f'error: {MissingPaddle.of(error)}')
    else:
        sys.__excepthook__(kind, error, traceback)


def is_of_paddle(error):
    """Whether an exception means that Paddle is not installed."""
    return isinstance(error, ImportError) and error.name == 'paddle'


class _Imports:
    """An import hook that restores the handler of SIGTERM at each import: Paddle replaces it by one that prints ten lines."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


class Ending:
    """The signal handler of a running command. The first signal raises KeyboardInterrupt or SystemExit in the main thread, so
    that open files are closed and removed. Another one, at least a second later, ends the process at once."""

    holds, late = 0, None                                          # active `undisturbed` blocks; the handler that waits

    def __init__(self):
        self.owner, self.since, self.number = os.getpid(), None, None

    def __call__(self, number, frame):
        if os.getpid() != self.owner:                              # a process that loads images has inherited this handler
            return
        if self.since is None:
            self.since, self.number = time.monotonic(), number
            if Ending.holds:
                Ending.late = self
            else:
                self.raise_again()
        elif time.monotonic() - self.since > SAME_REQUEST:
            os._exit(128 + number)

    def raise_again(self):
        """Raise the exception for the signal that has come, if any."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.number:
            sys.exit(128 + self.number)


@contextlib.contextmanager
def undisturbed():
    """Delay the signal handler of `exit_with_message` to the end of the block, for code that must not be interrupted."""
    Ending.holds += 1
    try:
        yield
    finally:
        Ending.holds -= 1
        if not Ending.holds and Ending.late:
            ending, Ending.late = Ending.late, None
            if threading.current_thread() is threading.main_thread():
                ending.raise_again()


def exit_with_message(main):
    """Decorator for the `main` of a command. A UserError, Ctrl-C, lack of memory and a full disk give one line on stderr and an
    exit code. A closed output pipe, SIGTERM and SIGHUP give only an exit code."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        let_streams_take_any_name()
        ending = Ending()
        before = catch_signals(ending)
        try:
            result = _to_its_end(main, args, kwargs)
            ending.raise_again()                                   # the exception of a signal may have been swallowed
            return result
        except BrokenPipeError:
            forget_readers()
            sys.exit(READER_GONE)
        except UserError as error:
            complain(f'error: {error}')
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            complain('interrupted')
            sys.exit(128 + signal.SIGINT)
        except Exception as error:
            reason = reason_outside(error)
            if not reason:
                raise
            forget_readers()                                       # the output itself may be on the full disk
            complain(f'error: {reason}')
            sys.exit(reason.exit_code)
        finally:
            restore_signals(before)

    return wrapped


def _to_its_end(main, args, kwargs):
    """Call `main` and flush its output, also that of -h. Returns the result of `main`."""
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:                             # closed by the parent process
            setattr(sys, name, open(os.devnull, 'w', encoding='utf-8'))
    try:
        result = main(*args, **kwargs)
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return result


def reason_outside(error):
    """Make a UserError from an exception with a cause outside this library: no memory, no Paddle, or a file error of the
    system. Returns None for any other exception."""
    if is_of_paddle(error):
        return UserError(str(MissingPaddle.of(error)))
    if ran_out_of_memory(error):
        return out_of_memory(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        name = os.fsdecode(error.filename or '')
        return UserError(f'{name[:60]!r}... of {len(name)} letters is longer than names of files may be')
    if isinstance(error, OSError) and error.errno:
        return UserError(f'{error.filename or "the output"}: {error.strerror}')
    return None
