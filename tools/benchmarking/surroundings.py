"""What a table of times has to be read with: the machine, and the exports that were timed."""
import os
import platform
import subprocess
import sys
from pathlib import Path

import image_classification
from image_classification.deploy.engines import available

FORMATS = {'paddle_inference': 'paddle', 'onnxruntime': 'onnx', 'openvino': 'openvino'}         # of tools/export.py
EXPORT = Path(__file__).resolve().parents[1] / 'export.py'


def machine(device):
    """What the figures depend on, but for the contenders' own versions."""
    import paddle
    facts = {'processor': _processor(), 'cores': os.cpu_count(), 'system': f'{platform.system()} {platform.release()}',
             'python': platform.python_version(), 'paddle': paddle.__version__,
             'paddle_mobile_backbones': image_classification.__version__}
    if device == 'gpu':
        facts['gpu'] = paddle.device.cuda.get_device_name()
    return facts


def _processor():
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def export(name, engines, root, image_size, environment):
    """Export a network for each engine, below `root`; what is there already is taken: {engine: (directory, error)}."""
    found = {}
    for engine in engines:
        if engine not in available():
            found[engine] = None, f'ModuleNotFoundError: {engine} is not installed'
            continue
        directory = Path(root) / name / (f'{FORMATS[engine]}-{image_size}' if image_size else FORMATS[engine])
        size = ['--image-size', str(image_size)] if image_size else []
        command = [sys.executable, str(EXPORT), '--model', name, '--format', FORMATS[engine], '--output', str(directory), *size]
        if directory.exists():
            found[engine] = directory, None
            continue
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors='replace')
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f'ended with code {done.returncode}']
        found[engine] = (directory, None) if done.returncode == 0 else (None, lines[-1].removeprefix('error: ')[:300])
    return found
