"""Finds out whether this library is a clone of its repository or a wheel that pip has installed.

| | clone | wheel |
|---|---|---|
| `configs/` and `tools/` are in | the clone | the directory `paddle_mobile_backbones` beside this package |
| a command is typed as | `python tools/fit.py` | `mobile-backbones fit` |
| an extra is installed by | `pip install -e '.[onnx]'` in the clone | `pip install 'paddle-mobile-backbones[onnx]'` |
"""
import importlib
import os
import shlex
import shutil
import sys
from pathlib import Path

DISTRIBUTION, COMMAND, SECOND_NAME = 'paddle-mobile-backbones', 'mobile-backbones', 'paddle_mobile_backbones'
PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent                      # the clone, or the directory that pip installs into
# Only a clone has files in ROOT itself. Beside a wheel, `configs` and `tools` belong to other distributions.
IS_CLONE = (ROOT / 'tools' / 'command_setup.py').is_file()
HOME = ROOT if IS_CLONE else ROOT / SECOND_NAME
CONFIGS, TOOLS = HOME / 'configs', HOME / 'tools'

SUB_COMMANDS = {                           # sub-command: (file, words in front of the user's, what it does)
    'train': ('main_multi_gpu.py', (), 'train on all devices, with a recipe or your own yaml'),
    'fit': ('fit.py', (), 'train and test a classifier for a folder of pictures, in a given time'),
    'evaluate': ('main_multi_gpu.py', ('-eval',), 'measure the accuracy of a checkpoint or of published weights'),
    'predict': ('predict.py', (), 'classify pictures'),
    'explain': ('explain.py', (), 'draw where a network looks'),
    'export': ('export.py', (), 'write a network for Paddle Inference, ONNX Runtime, OpenVINO, ...'),
    'quantize': ('quantize.py', (), 'quantise an export to 8 bits, and measure the loss of accuracy'),
    'serve': ('serve.py', (), 'classify over HTTP'),
    'demo': ('demo.py', (), 'serve a web page to try networks on'),
    'convert-weights': ('convert_weights.py', (), "convert published weights to this library's names"),
    'detect-faces': ('detect_faces.py', (), 'find faces, and draw them into copies of pictures'),
    'search-dilation': ('search_dilation.py', (), 'find the dilations of an IC-ResNet'),
    'report': ('__main__.py', (), 'describe this installation for a bug report'),
}
typed = ''                                 # e.g. 'mobile-backbones fit', if this process was started so


if 'create_model' not in getattr(sys.modules[PACKAGE.name], '__all__', ()) and sys.modules[PACKAGE.name].__spec__:
    importlib.import_module(SECOND_NAME)   # if __init__.py is missing or foreign: this reports it and restores ours


def file_of(name):
    """The file that a sub-command runs."""
    file = SUB_COMMANDS[name][0]
    return (TOOLS if (TOOLS / file).is_file() else PACKAGE) / file


def words_of(name):
    """The words to type for a sub-command, e.g. ['.venv/bin/python', 'tools/predict.py'] or ['mobile-backbones', 'predict']."""
    if IS_CLONE:
        return [as_typed(sys.executable), as_typed(file_of(name)), *SUB_COMMANDS[name][1]]
    script = Path(sys.executable).with_name(f'{COMMAND}.exe' if os.name == 'nt' else COMMAND)
    if not script.is_file():
        return [as_typed(sys.executable), '-m', SECOND_NAME, name]
    on_path = shutil.which(COMMAND)
    return [COMMAND if on_path and os.path.realpath(on_path) == os.path.realpath(script) else as_typed(script), name]


def tool(name):
    """The name of a sub-command for messages: 'tools/predict.py', or 'mobile-backbones predict'."""
    return f'{file_of(name).relative_to(HOME).as_posix()}' if IS_CLONE else f'{COMMAND} {name}'


def as_typed(path):
    """A path as one would type it in the working directory. Links stay, because a virtual environment's python is a link."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def readable(path):
    """The path of a file of this library relative to it, e.g. configs/xception.yaml; other paths unchanged."""
    for place in (HOME, ROOT):
        if place in Path(path).parents:
            return str(Path(path).relative_to(place))
    return str(path)


def pip():
    """The words to type for the pip of this Python: `pip` in a clone, or if the shell would find it; else python -m pip."""
    found = shutil.which('pip')
    ours = found and Path(found).parent.resolve() == Path(sys.executable).parent.resolve()
    return 'pip' if ours or IS_CLONE else f'{shlex.quote(as_typed(sys.executable))} -m pip'


def install_line(extra, by=None):
    """The line that installs an extra of this library. `by`: the words for pip; default: `pip()`."""
    return f"{by or pip()} install {'-e ' if IS_CLONE else ''}'{'.' if IS_CLONE else DISTRIBUTION}[{extra}]'"


def how_to_install(extra):
    """The text after "Install it" in a message."""
    return f'{", in the clone of this library," if IS_CLONE else ""} by: {install_line(extra)}'
