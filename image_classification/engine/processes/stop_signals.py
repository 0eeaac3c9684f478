"""Handle SIGTERM, SIGHUP and Ctrl-C between two training steps, instead of ending the process in the middle of one."""
import contextlib
import os
import signal
import sys
import time
from multiprocessing import resource_tracker

from image_classification.datasets.shared_memory import remove_own
from image_classification.errors import ENDING, READER_GONE, SAME_REQUEST, blocked_signals, catch_signals, restore_signals

STOPPED = {*(128 + number for number in ENDING), READER_GONE}      # exit codes of a training that was asked to stop


class StopSignals:
    """Within the block, the first SIGTERM, SIGINT or SIGHUP only sets `caught` (0: none yet). Another one, at least a second
    later, ends the process at once, with exit code 128 + its number. The handler calls `forward(number)` for every signal.

    Ignored signals stay ignored, except SIGINT: shells ignore it for background jobs, but programs send it on purpose. Outside
    the main thread nothing is done, because only that may set handlers.
    """

    def __init__(self, message, forward=None):
        self.message, self.forward = message, forward
        self.caught, self.since, self.owner = 0, 0.0, os.getpid()
        self.before = {}

    def __enter__(self):
        self.before = catch_signals(self._handle, even_ignored=(signal.SIGINT,))
        return self

    def __exit__(self, *error):
        restore_signals(self.before)

    def _handle(self, number, frame):
        if os.getpid() != self.owner:                              # a process that loads images has inherited this handler
            return
        if self.forward:
            self.forward(number)
        if not self.caught:
            self.caught, self.since = number, time.monotonic()
            # Not with print, because the interrupted code may be using its buffer.
            with contextlib.suppress(OSError):                     # the terminal may be closed
                os.write(sys.__stderr__.fileno(), f'{signal.Signals(number).name}: {self.message}\n'.encode())
        elif time.monotonic() - self.since > SAME_REQUEST:
            remove_own()
            os._exit(128 + number)


def start_resource_tracker():
    """Start Python's resource tracker, which cleans up after processes, with signals blocked.

    Otherwise a closed terminal would end it while the processes save. A new tracker would not know their resources, and would
    print tracebacks. It must also run before `blocked_signals` is used, because its start undoes the blocking.
    """
    if hasattr(resource_tracker, 'ensure_running'):                # not on Windows
        with blocked_signals():
            resource_tracker.ensure_running()
