"""Messages from a training process to its supervisor."""
import json
from pathlib import Path


class ChildMessages:
    """Sends messages as files in a shared directory. Without a directory, for a process without a supervisor, it sends none."""

    def __init__(self, directory=''):
        self.directory = directory

    def send_run_directory(self, directory):
        """Tell the supervisor the run directory."""
        self._send('run', str(Path(directory).absolute()))

    def send_failure(self, rank, reason, code):
        """Tell the supervisor that process `rank` is about to end, with the reason and the exit code."""
        self._send(f'failure-{rank:05}', [code, reason])

    def run_directory(self):
        """The run directory; None if no process has sent it."""
        return next(iter(self._read('run')), None)

    def failures(self):
        """[[exit code, reason], ...], ordered by process number."""
        return self._read('failure-*')

    def _send(self, name, value):
        if self.directory:
            Path(self.directory, name).write_text(json.dumps(value), encoding='utf-8')

    def _read(self, pattern):
        return [json.loads(path.read_text(encoding='utf-8')) for path in sorted(Path(self.directory).glob(pattern))]
