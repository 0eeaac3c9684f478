"""What pip makes of the wheel, with stand-ins for both builds of PaddlePaddle: python -m pytest -m slow tests/installation"""
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[2]
NEEDED = {'packaging': '25.0', 'setuptools': '80.0', 'yacs': '0.1.8', 'numpy': '2.3.0', 'pillow': '11.0', 'safetensors': '0.6',
          'tqdm': '4.67'}


def make_wheel(folder, name, version, files=()):
    """A wheel that holds these {path: text}, for a distribution that needs nothing."""
    plain = name.replace('-', '_')
    info = f'{plain}-{version}.dist-info'
    with zipfile.ZipFile(folder / f'{plain}-{version}-py3-none-any.whl', 'w') as wheel:
        content = {**dict(files), f'{info}/METADATA': f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n',
                   f'{info}/WHEEL': 'Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n'}
        record = ''.join(f'{path},,\n' for path in [*content, f'{info}/RECORD'])
        for path, text in {**content, f'{info}/RECORD': record}.items():
            wheel.writestr(path, text)


@pytest.fixture(scope='module')
def wheels(tmp_path_factory):
    """A folder with this library's wheel, both builds of PaddlePaddle, and what else is required, each a stand-in."""
    folder = tmp_path_factory.mktemp('wheels')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '-w', str(folder), str(PROJECT)], check=True)
    for name, version in NEEDED.items():
        make_wheel(folder, name, version)
    for name, build in (('paddlepaddle', 'cpu'), ('paddlepaddle-gpu', 'gpu')):
        make_wheel(folder, name, '3.3.1', {'paddle/__init__.py': f'BUILD = {build!r}\n'})
    make_wheel(folder, 'image-classification', '0.1.0', {'image_classification/__init__.py': '',
                                                         'image_classification/model.py': ''})
    return folder


@pytest.fixture
def environment(wheels, tmp_path):
    """environment(word of pip, ...) after a clean virtual environment was made; it gives what pip or the program printed."""
    place = tmp_path / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(place)], check=True)

    def run(*words, program='pip'):
        pip = [sys.executable, '-m', 'pip', '--python', place / 'bin/python']
        line = [*pip, *words] if program == 'pip' else [place / 'bin' / program, *words]
        options = {'PIP_DISABLE_PIP_VERSION_CHECK': '1', 'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': str(wheels), 'PIP_CONFIG_FILE': os.devnull, 'PIP_CONSTRAINT': ''}
        left = {key: value for key, value in os.environ.items() if not key.startswith('PIP_') and key != 'PYTHONPATH'}
        done = subprocess.run(list(map(str, line)), env={**left, **options}, cwd=tmp_path, capture_output=True, text=True)
        assert not done.returncode, done.stderr
        return done.stdout + done.stderr
    run.build = lambda: run('-c', 'import paddle; print(paddle.BUILD)', program='python').strip()
    return run


@pytest.mark.parametrize('wanted', ['paddle-mobile-backbones', 'paddle-mobile-backbones[gpu]'])
def test_the_build_for_gpus_stays_where_it_is(environment, wanted):
    environment('install', 'paddlepaddle-gpu')
    environment('install', '--upgrade', wanted)
    assert environment.build() == 'gpu'
    listed = environment('list')
    assert 'paddlepaddle-gpu' in listed and 'paddlepaddle ' not in listed


@pytest.mark.parametrize('extra', ['cpu', 'gpu'])
def test_an_extra_brings_a_build(environment, extra):
    environment('install', f'paddle-mobile-backbones[{extra}]')
    assert environment.build() == extra
    assert environment('--version', program='mobile-backbones').startswith('paddle-mobile-backbones ')


def test_another_distribution_of_that_name_comes_and_goes(environment):
    """It writes over our file, and its removal deletes that; the repair is the line that the warning names."""
    ask = ['-c', 'import paddle_mobile_backbones as ic; print(ic.UserError.__module__)']
    environment('install', 'paddle-mobile-backbones')
    assert environment(*ask, program='python') == 'image_classification.errors\n'
    environment('install', 'image-classification')
    found = environment(*ask, program='python')
    assert found.startswith('image_classification.errors\n') and 'has written over it' in found
    environment('uninstall', '-y', 'image-classification')
    found = environment(*ask, program='python')
    assert found.startswith('image_classification.errors\n') and 'has deleted it' in found
    assert found.split('Repair it by: ')[1].startswith('pip install --force-reinstall --no-deps paddle-mobile-backbones.')
    environment('install', '--force-reinstall', '--no-deps', 'paddle-mobile-backbones')
    assert environment(*ask, program='python') == 'image_classification.errors\n'


def test_twine_takes_the_wheel(wheels):
    pytest.importorskip('twine', reason='pip install twine')
    wheel = next(wheels.glob('paddle_mobile_backbones-*.whl'))
    done = subprocess.run([sys.executable, '-m', 'twine', 'check', '--strict', str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0 and 'PASSED' in done.stdout, done.stdout + done.stderr
