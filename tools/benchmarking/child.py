"""The processes of tools/benchmark.py: build a network, then compute whenever a line on standard input asks for it.

This file uses only the standard library, because `torch_side.py` runs in a Python that need not have Paddle. The protocol, in
lines of JSON:

    argument        {"who": ..., "name": ..., "what": "forward", "batch": 8, "size": 224, ...}: what to build
    first answer    {"versions": {"paddle": "3.3.1"}}, or {"error": ...} and the process ends
    question        how many times to compute, e.g. 3
    its answer      {"seconds": average of one computation, "peak": MiB of memory so far}, or {"error": ...}
"""
import json
import math
import os
import sys
import time
from collections import namedtuple
from pathlib import Path

# run() completes one computation and returns the argument of `finite`; peak() returns MiB.
Built = namedtuple('Built', 'run finite versions peak')


def peak_memory():
    """Peak memory of this process in MiB; NaN if the system does not report it."""
    status = Path('/proc/self/status')
    if status.is_file():                                           # ru_maxrss would include the parent's memory before exec
        lines = [line.split() for line in status.read_text().splitlines() if line.startswith('VmHWM:')]
        if lines:
            return int(lines[0][1]) / 1024
    try:
        import resource
    except ImportError:                                            # Windows
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)


def followed_by(end, run):
    """A function that calls `run`, then `end`, e.g. to wait for a GPU."""
    def both():
        result = run()
        end()
        return result
    return both


def serve(build):
    """Answer until standard input ends. `build(job)` returns a `Built`."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)                                                  # keep output of libraries out of the answers

    def answer(**content):
        print(json.dumps(content), file=answers, flush=True)

    try:
        built = build(json.loads(sys.argv[1]))
        if not built.finite(built.run()):
            raise ArithmeticError('the result is not finite')
        answer(versions=built.versions)
        for line in sys.stdin:
            start = time.perf_counter()
            for _ in range(int(line)):
                built.run()
            answer(seconds=(time.perf_counter() - start) / int(line), peak=built.peak())
    except Exception as error:                                     # a failed contender becomes a cell of the table
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        answer(error=f'{type(error).__name__}: {lines[-1] if lines else "no reason given"}')
