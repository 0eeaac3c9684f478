"""SIGTERM and Ctrl-C, asked for between two steps instead of ending the process in the middle of one."""
import os
import signal
import sys
import threading
import time

STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}              # exit codes of a training that was asked to stop
_SAME_REQUEST = 1.0                        # seconds: a terminal and a launcher both pass on one Ctrl-C


class StopSignals:
    """Within the block, the first SIGTERM or SIGINT only sets `caught` (0: none yet); a second one, a second or more later,
    ends the process at once, with 128 + its number. `forward(number)` is called for every one, from the handler.

    Outside the main thread, which alone may set handlers, it does nothing.
    """

    def __init__(self, message, forward=None):
        self.message, self.forward = message, forward
        self.caught, self.since, self.owner = 0, 0.0, os.getpid()
        self.before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if os.getpid() != self.owner:                              # a process that loads images has inherited this handler
            return
        if self.forward:
            self.forward(number)
        if not self.caught:
            self.caught, self.since = number, time.monotonic()
            # Not by print: its buffer may be in use by what this handler has interrupted.
            os.write(sys.__stderr__.fileno(), f'{signal.Signals(number).name}: {self.message}\n'.encode())
        elif time.monotonic() - self.since > _SAME_REQUEST:
            os._exit(128 + number)
