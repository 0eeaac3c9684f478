"""SIGTERM, SIGHUP and Ctrl-C, asked for between two steps instead of ending the process in the middle of one."""
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
    """Within the block, the first SIGTERM, SIGINT or SIGHUP only sets `caught` (0: none yet); a second one, a second or more
    later, ends the process at once, with 128 + its number. `forward(number)` is called for every one, from the handler.

    A signal that is ignored stays so, but for SIGINT: shells ignore it for what runs in the background, and programs send it.
    Outside the main thread, which alone may set handlers, nothing is done.
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
            # Not by print: its buffer may be in use by what this handler has interrupted.
            with contextlib.suppress(OSError):                     # the terminal may be closed
                os.write(sys.__stderr__.fileno(), f'{signal.Signals(number).name}: {self.message}\n'.encode())
        elif time.monotonic() - self.since > SAME_REQUEST:
            remove_own()
            os._exit(128 + number)


def start_resource_tracker():
    """Start the process by which Python tidies up after processes, so that a closed terminal does not end it while they save: its
    successor would know nothing of them, and say so in tracebacks. It also must be there before `blocked_signals`, which its start
    would undo."""
    if hasattr(resource_tracker, 'ensure_running'):                # not on Windows
        with blocked_signals():
            resource_tracker.ensure_running()
