"""A process for each contender, with its own memory, settings and crashes. It waits while another one computes."""
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarking.contenders import PADDLE, TORCH

HERE = Path(__file__).resolve().parent
TURN_SECONDS = 0.1                                                 # a turn repeats the computation for about this time
SPIN_SECONDS = 0.25                                                # idle OpenMP threads spin for this time
ANSWER_SECONDS = 1200                                              # a contender without an answer for this time is killed


class Child:
    """A process that answers each line with a line of JSON; tools/benchmarking/child.py is the other side."""

    def __init__(self, command, environment=None):
        self._errors = tempfile.TemporaryFile('w+', errors='replace')
        self._process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._errors, env=environment, text=True)

    def ask(self, line):
        """The answer, or {'error': reason} if the process ends instead."""
        try:
            print(line, file=self._process.stdin, flush=True)
        except OSError:                                            # the process has ended; `listen` reports why
            pass
        return self.listen()

    def listen(self):
        """The next answer. The first one comes without a question."""
        watch = threading.Timer(ANSWER_SECONDS, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        return json.loads(line) if line else {'error': self._last_words()}

    def _last_words(self):
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        telling = [line for line in lines if re.match(r'[\w.]*(Error|Exception|Fatal)\b.*\S', line)]
        return f'ended with code {code}: {(telling or lines or ["nothing said"])[-1][:300]}'

    def close(self):
        try:
            self._process.stdin.close()
        except OSError:                                            # the process ended before it read everything
            pass
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


class Runner:
    """One contender at work. `error` says why it is not, `seconds` has one figure per turn, `peak` is in MiB."""

    def __init__(self, contender, environment, peer_python):
        self.contender, self.error = contender, contender.error
        self.seconds, self.peak, self.versions, self.child, self.count = [], math.nan, {}, None, 1
        if self.error:
            return
        torch = contender.job['who'] in TORCH                      # not for its export, which an engine here runs
        command = [peer_python if torch else sys.executable, HERE / ('torch_side.py' if torch else 'paddle_side.py'),
                   json.dumps(contender.job)]
        environment = {**environment, 'OMP_NUM_THREADS': str(contender.job['threads'])}
        if contender.job['who'] == 'PaddleViT':                    # its files import each other as top-level modules
            ways = [contender.job['directory'], environment.get('PYTHONPATH', '')]
            environment['PYTHONPATH'] = os.pathsep.join(filter(None, ways))
        if contender.who in PADDLE:
            environment['PADDLE_MOBILE_BACKBONES_PLAIN'] = '0' if contender.job['settings'] else '1'
        try:
            self.child = Child(command, environment)
        except OSError as error:
            self.error = f'{command[0]}: {error.strerror}'

    def get_ready(self):
        """Wait until the network is built, then warm up."""
        if not self.error:
            self._take(self.child.listen())
        for _ in range(2):
            seconds = self._compute(1)
        self.count = 1 if self.error else max(1, math.ceil(TURN_SECONDS / max(seconds, 1e-6)))

    def take_turn(self):
        seconds = self._compute(self.count)
        if not self.error:
            self.seconds.append(seconds)

    def _compute(self, count):
        """Average seconds of one of `count` computations; NaN after an error."""
        return math.nan if self.error else self._take(self.child.ask(count)).get('seconds', math.nan)

    def _take(self, answer):
        self.versions = answer.get('versions', self.versions)
        self.peak = answer.get('peak', self.peak)
        self.error = answer.get('error')
        return answer

    def close(self):
        if self.child:
            self.child.close()

    def result(self):
        """The result for JSON."""
        job, milliseconds = self.contender.job, [1000 * seconds for seconds in self.seconds]
        figures = {'milliseconds': milliseconds, 'per_turn': self.count, 'median': statistics.median(milliseconds),
                   'spread': half_the_interquartile_range(milliseconds),
                   'peak_mib': None if math.isnan(self.peak) else self.peak} if milliseconds else {}
        return {'label': self.contender.label, 'who': self.contender.who, 'name': job['name'], 'versions': self.versions,
                'error': self.error, **figures}


def half_the_interquartile_range(values):
    if len(values) < 2:
        return 0.0
    first, _, third = statistics.quantiles(values, method='inclusive')
    return (third - first) / 2


def alternate(contenders, environment, peer_python, repeat):
    """Let all contenders compute in turn, `repeat` times. Returns (their results, the labels in the order of the turns)."""
    runners = []
    try:
        for contender in contenders:
            runners.append(Runner(contender, environment, peer_python))
        for runner in runners:
            runner.get_ready()
        order = []
        for runner in runners * repeat:
            if not runner.error:
                if runner.contender.job['threads'] > 1:
                    time.sleep(SPIN_SECONDS)                       # the previous one's threads would still spin
                runner.take_turn()
                order.append(runner.contender.label)
        return [runner.result() for runner in runners], order
    finally:
        for runner in runners:
            runner.close()
