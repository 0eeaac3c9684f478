"""What a training process tells the supervisor that has started it."""
import json
from pathlib import Path


class ChildMessages:
    """Messages by way of files in a directory that both know; without a directory, for a process without a supervisor, none."""

    def __init__(self, directory=''):
        self.directory = directory

    def send_run_directory(self, directory):
        """The main process writes into this directory."""
        self._send('run', str(Path(directory).absolute()))

    def send_failure(self, rank, reason, code):
        """Process `rank` is about to end because of this, with this exit code."""
        self._send(f'failure-{rank:05}', [code, reason])

    def run_directory(self):
        """The directory of the run; None where no process has sent it."""
        return next(iter(self._read('run')), None)

    def failures(self):
        """[[exit code, reason], ...] in the order of the processes."""
        return self._read('failure-*')

    def _send(self, name, value):
        if self.directory:
            Path(self.directory, name).write_text(json.dumps(value), encoding='utf-8')

    def _read(self, pattern):
        return [json.loads(path.read_text(encoding='utf-8')) for path in sorted(Path(self.directory).glob(pattern))]
