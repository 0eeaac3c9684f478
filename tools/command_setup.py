"""Imported first by every command in this directory: it sets up the process before Paddle is imported."""
import os
import signal
import sys

ENVIRONMENT = dict(os.environ)                                     # the user's environment, before anything is set
_COMMAND = os.path.abspath(getattr(sys.modules['__main__'], '__file__', None) or '')
IS_COMMAND = os.path.dirname(_COMMAND) == os.path.dirname(os.path.abspath(__file__))    # False if a test imports a command

if IS_COMMAND and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)                   # no traceback while the next lines are imported
try:
    import paddle_mobile_backbones  # noqa: F401  (first: it makes sure that `image_classification` is this library's)
    from image_classification import errors
except ImportError as error:
    if error.name == 'paddle_mobile_backbones':
        about = error.msg if not isinstance(error, ModuleNotFoundError) else \
            'the library is not installed, or an older version is; run in its clone: pip install -e .'
        sys.exit(f'error: {about}')
    raise
if IS_COMMAND:
    errors.expect_signals()

from image_classification.cpu import settings  # noqa: E402

settings.quieten()
settings.tune_cpu()
