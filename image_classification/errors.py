"""The exceptions that the command line prints as one line, without a traceback, and how a process ends.

| code | meaning |
|---|---|
| 0 | done |
| 1 | something of the user's is wrong: to run it again would fail again |
| 2 | the command line cannot be read |
| 75 | something failed that may work the next time, e.g. a process was killed; `-max_restarts` starts again |
| 129, 130, 143 | stopped by a closed terminal (SIGHUP), Ctrl-C or SIGTERM; a training has saved its state |
| 141 | who reads the output has seen enough, as in `... | head`; a training has saved its state |
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

# What asks a process to end. There is no SIGHUP, which a closed terminal sends, on Windows.
ENDING = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))
SAME_REQUEST = 1.0                         # seconds: a terminal and a launcher both pass on one Ctrl-C
READER_GONE = 141                          # 128 + SIGPIPE
_PR_SET_PDEATHSIG = 1                      # <linux/prctl.h>


class UserError(ValueError):
    """Something in the user's files, flags or configuration is wrong: names what was found, what is wanted, what to do."""

    exit_code = 1


class TemporaryError(UserError):
    """Something failed that is no fault of the configuration: a process died or hung. To start again may help."""

    exit_code = 75                                                 # EX_TEMPFAIL of <sysexits.h>


def missing_package(what, extra):
    """The UserError for a package that is not installed; raise it.

    Args:
        what: the package, or a beginning of a sentence that goes on with "is not installed", or "are" for several:
            '... needs onnx, onnxruntime, which'.
        extra: of setup.py, which installs it.
    """
    several = re.search(r' needs \S+(, \S+)+, which$', what)
    return UserError(f'{what} {"are" if several else "is"} not installed. Install {"them" if several else "it"}'
                     f'{how_to_install(extra)}')


def ran_out_of_memory(error):
    """Whether an exception says so: Python's own, Paddle's, or that of a call of the system."""
    return (isinstance(error, MemoryError) or isinstance(error, OSError) and error.errno == errno.ENOMEM
            or any(words in str(error) for words in ('std::bad_alloc', 'ResourceExhausted')))


def out_of_memory(error):
    """The TemporaryError for an exception that says that memory ran out: Paddle's has twenty lines, of which one says how much
    it wanted."""
    wanted = re.search(r'alloc memory of (\d+) size|allocate ([\d.]+) ?([KMGTP]?i?B)', str(error))
    size = f' ({int(wanted[1]) / 2 ** 30:.2f} GiB more were wanted)' if wanted and wanted[1] else \
        f' ({float(wanted[2]):.4g} {wanted[3]} more were wanted)' if wanted else ''
    return TemporaryError(f'memory ran out{size}. Take a smaller batch, smaller images or fewer processes, or end other '
                          'programs')


def oom_kills():
    """How many processes the kernel has killed since it started because memory ran out; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError), open('/proc/vmstat', encoding='ascii') as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith('oom_kill ')), 0)
    return 0


def complain(text):
    """A line on standard error, if anybody still reads it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        forget_readers()


def forget_readers():
    """Nobody reads what is printed any more: from now on it goes nowhere, what Python writes at its end included."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def catch_signals(handler, even_ignored=()):
    """Let `handler` have the signals that ask this process to end, but for those that are ignored, as SIGHUP is below nohup.

    Args:
        even_ignored: signals that it gets all the same.
    Returns:
        {signal: handler of before}, for `restore_signals`; outside the main thread, which alone may set handlers, {}.
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
        signal.signal(number, signal.SIG_DFL if handler is None else handler)   # None: it was not Python's


@contextlib.contextmanager
def blocked_signals():
    """Processes that are started within the block get signals that ask them to end only when they are ready for them: when they
    come to `catch_signals`. Until then Python would answer with a traceback."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ends_with_parent(number):
    """For `preexec_fn`: what a new process does first, so that Linux sends it a signal when the thread that started it ends, be
    it by a kill. None for other systems."""
    if sys.platform != 'linux':
        return None
    prctl = ctypes.CDLL(None).prctl                                # found before the fork, after which little is safe
    return lambda: prctl(_PR_SET_PDEATHSIG, int(number))


def end_at_once(number, frame=None):
    """The handler of a signal while nothing has begun that would have to be ended: no module that is being imported sees an
    exception, which some take for a missing package."""
    if number == signal.SIGINT:
        with contextlib.suppress(OSError):
            os.write(2, b'interrupted\n')
    os._exit(128 + number)


def expect_signals():
    """For programs, before anything else is imported: signals end them quietly until `exit_with_message` takes over, and that
    there is no Paddle is told in one line, too."""
    catch_signals(end_at_once)
    sys.meta_path.insert(0, _Imports)
    sys.excepthook = _without_traceback


def _without_traceback(kind, error, traceback):
    if is_of_paddle(error):
        complain(f'error: {MissingPaddle.of(error)}')
    else:
        sys.__excepthook__(kind, error, traceback)


def is_of_paddle(error):
    """Whether an exception says that there is no Paddle to import."""
    return isinstance(error, ImportError) and error.name == 'paddle'


class _Imports:
    """Is asked for each module that is imported. Paddle takes SIGTERM for itself then, and answers it with ten lines: that is
    undone."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


class Ending:
    """The handler of signals while a command is at work: the first one raises KeyboardInterrupt or SystemExit in the main
    thread, so that whatever is open is closed and removed; one more, a second or more later, ends the process at once."""

    holds, late = 0, None                                          # of `undisturbed`, in any thread

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
        """Raise what the signal that has come asks for, if any."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.number:
            sys.exit(128 + self.number)


@contextlib.contextmanager
def undisturbed():
    """Within the block the handler of `exit_with_message` waits: something must not end half-way, or crashes at an exception."""
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
    """Decorate a command's `main`: a UserError, Ctrl-C, the end of the memory or of the disk becomes one line on stderr and its
    exit code; the end of who reads the output, SIGTERM or SIGHUP the latter."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        let_streams_take_any_name()
        ending = Ending()
        before = catch_signals(ending)
        try:
            result = _to_its_end(main, args, kwargs)
            ending.raise_again()                                   # somebody has taken no notice of it
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
            forget_readers()                                       # it may be the output that is on a full disk
            complain(f'error: {reason}')
            sys.exit(reason.exit_code)
        finally:
            restore_signals(before)

    return wrapped


def _to_its_end(main, args, kwargs):
    """What `main` gives, once all that it has printed is written, be it the text of -h."""
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:                             # closed by who has started it
            setattr(sys, name, open(os.devnull, 'w', encoding='utf-8'))
    try:
        result = main(*args, **kwargs)
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return result


def reason_outside(error):
    """The UserError for an exception whose reason is not in this library, no memory, no Paddle or a file that the system
    refuses; else None."""
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
