"""The setting of a table of times: the machine, and the exports that were timed."""
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import image_classification
from image_classification.deploy.engines import FORMATS, PHONE_ENGINES, available
from image_classification.deploy.export_directory import ONNX, ExportDirectory
from image_classification.files import temporary_directory, write_atomically

TOOLS = Path(__file__).resolve().parents[1]


def machine(device):
    """The facts that the figures depend on, except the contenders' versions."""
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


def input_pipeline(options, peers, peer_python, environment):
    """The result of tools/benchmark_input.py: {'markdown': its output, 'images_per_second': ...} or {'error': reason}."""
    options = ['--backends', 'pillow', *(['opencv'] if find_spec('cv2') else []), *options]
    options += ['--peers', '--peer-python', peer_python] if peers else []
    with temporary_directory() as scratch:
        path = Path(scratch) / 'input.json'
        command = [sys.executable, str(TOOLS / 'benchmark_input.py'), *options, '--json', str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors='replace')
        if done.returncode:
            return {'error': _last_line(done)}
        return {'markdown': done.stdout, **json.loads(path.read_text())}


def _last_line(done):
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [f'ended with code {done.returncode}']
    return lines[-1].removeprefix('error: ')[:300]


def export(name, engines, root, size, environment, options=()):
    """Exports of a network in `root` for `size` x `size` pixels: {engine: (directory, error)}, one of the two None.

    `options` are further options of tools/export.py. Existing exports with the same options are reused. The others are
    exported all at once or, if that fails, one by one. Phone formats are always exported one by one.
    """
    folder, found = Path(root) / ''.join([name, *options]), {}
    for engine in engines:
        if engine not in available():
            found[engine] = None, f'ModuleNotFoundError: {engine} is not installed'
    for directory in sorted(folder.iterdir()) if folder.is_dir() else ():
        present = ExportDirectory(directory)
        if present.read_if_there().get('input', {}).get('image_size') == size:
            whose = [engine for engine in present.engines() if engine in PHONE_ENGINES] or present.engines()
            found.update({engine: (directory, None) for engine in whose if engine in engines})
    missing = [engine for engine in engines if engine not in found]
    for engine in [engine for engine in missing if engine in PHONE_ENGINES]:
        found[engine] = _export(name, [engine], folder, size, environment, options)
    missing = [engine for engine in missing if engine not in PHONE_ENGINES]
    directory, error = _export(name, missing, folder, size, environment, options) if missing else (None, None)
    if error and len(missing) > 1:
        return {**found, **{engine: _export(name, [engine], folder, size, environment, options) for engine in missing}}
    return {**found, **{engine: (directory, error) for engine in missing}}


def _export(name, engines, folder, size, environment, options):
    formats = [FORMATS[engine] for engine in engines]
    directory = folder / '-'.join([*formats, str(size)])
    command = [sys.executable, str(TOOLS / 'export.py'), '--model', name, '--format', ','.join(formats),
               '--image-size', str(size), '--output', str(directory), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors='replace')
    return (directory, None) if done.returncode == 0 else (None, _last_line(done))


def export_peer(job, root, peer_python, environment):
    """Export a network of timm or torchvision with torch.onnx: (directory of the file, error), one of the two None.

    `job` is the job of its contender. An existing file in `root` is reused.
    """
    directory = Path(root) / 'peers' / f'{job["who"]}-{job["name"]}-{job["size"]}'
    if (directory / ONNX).is_file():
        return directory, None
    directory.mkdir(parents=True, exist_ok=True)
    command = [peer_python, str(Path(__file__).with_name('torch_export.py')), json.dumps(job)]
    try:
        with temporary_directory() as scratch:
            written = Path(scratch) / ONNX
            done = subprocess.run([*command, str(written)], env=environment, capture_output=True, text=True, errors='replace')
            if done.returncode or not written.is_file():
                return None, _last_line(done)
            write_atomically(directory / ONNX, lambda path: shutil.copyfile(written, path))
    except OSError as error:
        return None, f'{peer_python}: {error.strerror}'
    return directory, None
