"""The exceptions that the command line prints as one line, without a traceback, and the codes that it exits with.

| code | meaning |
|---|---|
| 0 | done |
| 1 | something of the user's is wrong: to run it again would fail again |
| 2 | the command line cannot be read |
| 75 | something failed that may work the next time, e.g. a process was killed; `-max_restarts` starts again |
| 130, 143 | stopped by Ctrl-C or SIGTERM; a training has saved its state |
| 141 | who reads the output has seen enough, as in `... | head` |
"""
import errno
import functools
import os
import sys


class UserError(ValueError):
    """Something in the user's files, flags or configuration is wrong: names what was found, what is wanted, what to do."""

    exit_code = 1


class TemporaryError(UserError):
    """Something failed that is no fault of the configuration: a process died or hung. To start again may help."""

    exit_code = 75                                                 # EX_TEMPFAIL of <sysexits.h>


def missing_package(what, extra):
    """The UserError for a package that is not installed; raise it.

    Args:
        what: the package, or a beginning of a sentence that goes on with "is not installed".
        extra: of setup.py, which installs it.
    """
    return UserError(f"{what} is not installed. Install it, in the clone of this library, by: pip install -e '.[{extra}]'")


def exit_with_message(main):
    """Decorate a command's `main`: a UserError or Ctrl-C becomes one line on stderr and its exit code, the end of who reads the
    output the latter."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            result = main(*args, **kwargs)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())   # for what Python still writes at its end
            sys.exit(141)
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            sys.exit(error.exit_code)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            name = os.fsdecode(error.filename or '')
            print(f'error: {name[:60]!r}... of {len(name)} letters is longer than names of files may be', file=sys.stderr)
            sys.exit(UserError.exit_code)
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            sys.exit(130)

    return wrapped
