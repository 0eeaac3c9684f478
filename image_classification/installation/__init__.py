"""Where this library is and what works there: a clone of its repository, or a wheel that pip has unpacked.

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
# Nothing is looked for in ROOT itself but in a clone: in a wheel's, `configs` and `tools` are some other distribution's.
IS_CLONE = (ROOT / 'tools' / 'command_setup.py').is_file()
HOME = ROOT if IS_CLONE else ROOT / SECOND_NAME
CONFIGS, TOOLS = HOME / 'configs', HOME / 'tools'

SUB_COMMANDS = {                           # sub-command: (file, words in front of the user's, what it does)
    'train': ('main_multi_gpu.py', (), 'train on all devices, by a recipe or a yaml of your own'),
    'fit': ('fit.py', (), 'a folder of pictures to a tested classifier, in a given time'),
    'evaluate': ('main_multi_gpu.py', ('-eval',), 'the accuracy of a checkpoint or of published weights'),
    'predict': ('predict.py', (), 'classify pictures'),
    'explain': ('explain.py', (), 'draw where a network looks'),
    'export': ('export.py', (), 'write a network for Paddle Inference, ONNX Runtime, OpenVINO, ...'),
    'quantize': ('quantize.py', (), 'make an export 8 bits, and measure what that costs'),
    'serve': ('serve.py', (), 'classify over HTTP'),
    'demo': ('demo.py', (), 'a page on which people try networks'),
    'convert-weights': ('convert_weights.py', (), "published weights in this library's names"),
    'detect-faces': ('detect_faces.py', (), 'find faces, and draw them into copies of pictures'),
    'search-dilation': ('search_dilation.py', (), 'find the dilations of an IC-ResNet'),
    'report': ('__main__.py', (), 'what a bug report should say of this installation'),
}
typed = ''                                 # 'mobile-backbones fit', where this process is that


if 'create_model' not in getattr(sys.modules[PACKAGE.name], '__all__', ()) and sys.modules[PACKAGE.name].__spec__:
    importlib.import_module(SECOND_NAME)   # a foreign __init__.py, or none: this says so, and puts ours in its place


def file_of(name):
    """The file that a sub-command runs."""
    file = SUB_COMMANDS[name][0]
    return (TOOLS if (TOOLS / file).is_file() else PACKAGE) / file


def words_of(name):
    """The words to type for a sub-command: ['.venv/bin/python', 'tools/predict.py'], or ['mobile-backbones', 'predict']."""
    if IS_CLONE:
        return [as_typed(sys.executable), as_typed(file_of(name)), *SUB_COMMANDS[name][1]]
    script = Path(sys.executable).with_name(f'{COMMAND}.exe' if os.name == 'nt' else COMMAND)
    if not script.is_file():
        return [as_typed(sys.executable), '-m', SECOND_NAME, name]
    on_path = shutil.which(COMMAND)
    return [COMMAND if on_path and os.path.realpath(on_path) == os.path.realpath(script) else as_typed(script), name]


def tool(name):
    """What a sub-command is called in a message: 'tools/predict.py', or 'mobile-backbones predict'."""
    return f'{file_of(name).relative_to(HOME).as_posix()}' if IS_CLONE else f'{COMMAND} {name}'


def as_typed(path):
    """A path as one would type it in the working directory. Resolving it would lead a virtual environment's python astray."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def readable(path):
    """A file of this library relative to it: configs/xception.yaml; others as they are."""
    for place in (HOME, ROOT):
        if place in Path(path).parents:
            return str(Path(path).relative_to(place))
    return str(path)


def pip():
    """The words to type for the pip of this Python: `pip` in a clone, and where the shell would find that one."""
    found = shutil.which('pip')
    ours = found and Path(found).parent.resolve() == Path(sys.executable).parent.resolve()
    return 'pip' if ours or IS_CLONE else f'{shlex.quote(as_typed(sys.executable))} -m pip'


def install_line(extra, by=None):
    """The line that installs an extra of this library, `by` the words for pip; default: `pip()`."""
    return f"{by or pip()} install {'-e ' if IS_CLONE else ''}'{'.' if IS_CLONE else DISTRIBUTION}[{extra}]'"


def how_to_install(extra):
    """What follows "Install it" in a message."""
    return f'{", in the clone of this library," if IS_CLONE else ""} by: {install_line(extra)}'
