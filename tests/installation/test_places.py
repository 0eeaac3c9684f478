"""What works where the user is: in a clone as ever, from a wheel by `mobile-backbones`."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

import image_classification as ic
from image_classification import installation
from image_classification.deploy.engines import open_engine
from image_classification.errors import UserError, missing_package

PROJECT = Path(__file__).resolve().parents[2]
NAMES = ('configs/mobileformer_26m.yaml', 'mnist5k/mobileformer_26m.yaml', 'mobilenet_v3_small_x1_0.yaml',
         'mobilenet_v3_small_x1_0')


@pytest.fixture(scope='module')
def unpacked(tmp_path_factory):
    """A directory as pip makes it of a wheel, but for the metadata; beside ours, somebody else's `configs` and `tools`."""
    target = tmp_path_factory.mktemp('site')
    # In a process of its own: setuptools has its own distutils only where nobody has imported Python's before.
    code = f'''
from setuptools import Distribution
from tests.installation.setup_file import read_setup
given = read_setup()
chosen = {{key: given[key] for key in ('packages', 'package_data')}}
build = given['cmdclass']['build_py'](Distribution({{**chosen, 'script_name': 'setup.py'}}))
build.build_lib = {str(target)!r}
build.ensure_finalized()
build.run()'''
    python(code, PROJECT, PROJECT)
    for name in ('configs/_base_/other.yaml', 'configs/other.yaml', 'configs/mobilenet_v3_small_x1_0.yaml', 'tools/fit.py'):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text('MODEL: {NUM_CLASSES: 7}\n')
    return target


def python(code, place, cwd):
    """What a Python prints that finds the library in `place`."""
    environment = {**os.environ, 'PYTHONPATH': str(place)}
    done = subprocess.run([sys.executable, '-c', code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout


def test_a_configuration_means_from_a_wheel_what_it_means_in_a_clone(unpacked, tmp_path):
    code = f'''
from image_classification.config import get_config
for name in {NAMES}:
    print(get_config(name).dump(), end='---')
'''
    found = python(code, unpacked, tmp_path).split('---')[:-1]
    assert found == [ic.get_config(name).dump() for name in NAMES] and len(set(found)) == 4


def test_what_a_wheel_has_is_its_own(unpacked, tmp_path):
    """Its recipes are not those of another distribution, its commands neither, and each has what it imports."""
    code = '''
import pathlib
from image_classification import installation as here
from image_classification.config import get_config
from image_classification.errors import UserError
try:
    print(get_config('other.yaml'))
except UserError as error:
    print(error)
print(here.IS_CLONE, here.tool('predict'), here.words_of('predict')[-1], here.install_line('onnx', 'pip'))
print(here.readable(here.CONFIGS / 'xception.yaml'))
for name in here.SUB_COMMANDS:
    assert here.file_of(name).is_relative_to(here.HOME) or here.file_of(name).parent == here.PACKAGE, name
'''
    problem, words, file = python(code, unpacked, tmp_path).splitlines()
    assert 'neither a file, nor below' in problem and 'paddle_mobile_backbones/configs, nor' in problem
    assert words == "False mobile-backbones predict predict pip install 'paddle-mobile-backbones[onnx]'"
    assert file == 'configs/xception.yaml'
    wheel = {path.relative_to(unpacked / 'paddle_mobile_backbones').as_posix()
             for path in (unpacked / 'paddle_mobile_backbones').rglob('*.*')}
    assert {path.relative_to(PROJECT).as_posix() for path in (PROJECT / 'configs').rglob('*.yaml')} < wheel
    assert (unpacked / 'paddle_mobile_backbones/first_init.py').read_bytes() == Path(ic.__file__).read_bytes()


def test_a_wheel_without_its_recipes_does_not_take_another_training(monkeypatch, tmp_path):
    monkeypatch.setattr('image_classification.config.loading.CONFIGS', tmp_path / 'configs')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='mobilenet_v3_small_x1_0.yaml. is a yaml file below configs/, and .* is missing'):
        ic.get_config('mobilenet_v3_small_x1_0.yaml')
    assert ic.get_config('mobilenet_v3_small_x1_0').MODEL.NAME == 'mobilenet_v3_small_x1_0'


def test_in_a_clone_commands_are_files_and_extras_are_installed_from_it():
    assert installation.IS_CLONE and installation.CONFIGS == PROJECT / 'configs'
    python, script = installation.words_of('predict')
    assert Path(python).resolve() == Path(sys.executable).resolve() and Path(script).resolve() == PROJECT / 'tools/predict.py'
    assert installation.tool('train') == 'image_classification/main_multi_gpu.py'
    assert str(missing_package('x', 'onnx')) == ("x is not installed. Install it, in the clone of this library, by: pip install "
                                                 "-e '.[onnx]'")


@pytest.mark.parametrize('on_path, words', [(True, ['mobile-backbones', 'predict']),
                                            (False, ['bin/mobile-backbones', 'predict'])])
def test_from_a_wheel_a_command_is_typed_as_the_shell_finds_it(monkeypatch, tmp_path, on_path, words):
    script = tmp_path / 'bin/mobile-backbones'
    script.parent.mkdir()
    script.write_text('')
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(installation, 'IS_CLONE', False)
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'bin/python'))
    monkeypatch.setenv('PATH', str(script.parent) if on_path else '')
    assert installation.words_of('predict') == words
    assert str(missing_package('x', 'onnx')) == ("x is not installed. Install it by: bin/python -m pip install "
                                                 "'paddle-mobile-backbones[onnx]'")


def test_from_a_wheel_messages_name_its_commands(monkeypatch, tmp_path):
    monkeypatch.setattr(installation, 'IS_CLONE', False)
    with pytest.raises(UserError, match='Export the model again by mobile-backbones export'):
        open_engine(tmp_path)
