"""Runs modules of this package in a process of their own, because the libraries that they call can crash it."""
import os
import re
import subprocess
import sys
from pathlib import Path

import image_classification

_SECONDS = 600
# Like `python -m`, but first imports paddle_mobile_backbones: a folder `image_classification` in the working directory would
# hide this package.
_START = 'import runpy, sys, paddle_mobile_backbones; runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)'


def run_child(module, *arguments, **environment):
    """Run `image_classification.deploy.<module>` as a program. Returns None, or one line that says what went wrong."""
    path = [str(Path(image_classification.__file__).resolve().parent.parent), os.environ.get('PYTHONPATH', '')]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, path)), 'GLOG_minloglevel': '2', **environment}
    command = [sys.executable, '-W', 'ignore', '-c', _START, f'image_classification.deploy.{module}', *arguments]
    try:
        child = subprocess.run(command, env=environment, capture_output=True, text=True, errors='replace',
                               stdin=subprocess.DEVNULL, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return f'it did not end within {_SECONDS} s'
    if child.returncode == 0:
        return None
    return reason(child.stderr) or f'it ended with exit code {child.returncode}'


def reason(text):
    """The line of one of Paddle's long messages that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r'[\w.]*(Error|Exception|NotMet|Fatal)\b.*\S', line)]
    return (telling or lines or [''])[-1][:300]
