"""The one exception that a user can cause. The command line prints its message without a traceback and exits with 1."""
import functools
import sys


class UserError(ValueError):
    """Something in the user's files, flags or configuration is wrong: names what was found, what is wanted, what to do."""


def exit_with_message(main):
    """Decorate a command's `main`: a UserError or Ctrl-C becomes one line on stderr and exit code 1 or 130."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            sys.exit(130)

    return wrapped
