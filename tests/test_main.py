"""python -m image_classification, the text for a bug report."""
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy
import paddle
import pytest

import image_classification as ic
from image_classification import __main__ as main


def test_it_prints_versions_device_networks_and_extras():
    done = subprocess.run([sys.executable, '-m', 'image_classification'], cwd=main.PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line)
    assert lines['library'].startswith(f'paddle-mobile-backbones {ic.__version__}')
    assert lines['PaddlePaddle'].startswith(paddle.__version__) and lines['numpy'] == numpy.__version__
    assert lines['Python'].startswith(sys.version.split()[0]) and lines['device'] == paddle.get_device()
    assert lines['networks'].startswith(f'{len(ic.list_models())} in 19 families')
    assert 'blazeface (3), ' in lines['families'] and lines['families'].count('(') == 19
    assert lines['weights'].startswith(f'{len(ic.list_pretrained())} published for ')
    assert {'paddlepaddle', 'yacs', 'Pillow', 'safetensors', 'tqdm', '[onnx]', '[openvino]', '[serve]', '[test]'} <= set(lines)


def test_a_reader_who_has_seen_enough_ends_it_quietly():
    with subprocess.Popen([sys.executable, '-m', 'image_classification'], cwd=main.PROJECT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b'' and process.wait() == 141


def test_every_extra_of_setup_py_is_there():
    extras = main._setup_arguments(main.PROJECT / 'setup.py')['extras_require']
    assert [f'[{name}]' for name in extras] == [name for name, _ in main.packages() if name[0] == '[']


@pytest.fixture
def one_extra(monkeypatch):
    """one_extra(requirement, ...): what is said of an extra that requires them."""
    def say(*requirements):
        monkeypatch.setattr(main, 'requirements_of_extras', lambda: {'': ['numpy'], 'own': list(requirements)})
        return dict(main.packages())['[own]']
    return say


def test_what_is_missing_is_named_with_how_to_install_it(one_extra, monkeypatch):
    assert one_extra('numpy', 'no-such-package>=2; python_version >= "3.8"') == (
        "missing: no-such-package is not installed (wanted >=2); pip install -e '.[own]'")
    monkeypatch.setattr(main, '_setup_file', lambda: None)
    assert one_extra('no-such-package').endswith("pip install 'paddle-mobile-backbones[own]'")


def test_a_version_that_does_not_fit_is_named(one_extra):
    assert one_extra('numpy<1.0') == f"missing: numpy {numpy.__version__} does not fit (wanted <1.0); pip install -e '.[own]'"
    assert one_extra('numpy>=1.0,<99', 'yacs') == f'numpy {numpy.__version__}, yacs {metadata.version("yacs")}'


def test_what_is_for_another_python_is_not_missing(one_extra):
    assert one_extra('numpy', 'no-such-package; python_version < "3.0"') == f'numpy {numpy.__version__}'


@pytest.mark.parametrize('version, sign, limit, fits', [
    ('1.17.0', '<', '1.18', True), ('1.18.0', '<', '1.18', False), ('1.9', '>=', '1.10', False), ('2.1', '==', '2.1.0', True),
    ('2.1.1', '==', '2.1.0', False), ('3.0.0rc1', '>=', '3.0', True), ('3', '!=', '3.0', False), ('4', '>', '3.9', True),
    ('1.18', '<=', '1.18', True)])
def test_versions_are_compared_number_by_number(version, sign, limit, fits):
    assert main._compare(version, sign, limit) is fits


def test_installed_by_pip_the_extras_are_those_of_its_metadata(monkeypatch, tmp_path):
    monkeypatch.setattr(main, 'PROJECT', tmp_path)
    (tmp_path / 'setup.py').write_text('raise SystemExit("of another package")')
    onnx = 'onnx<1.18; python_version < "3.13" and extra == "onnx"'
    monkeypatch.setattr(metadata, 'requires', lambda name: ['yacs', 'tqdm>=4', onnx])
    assert main.requirements_of_extras() == {'': ['yacs', 'tqdm>=4'], 'onnx': [onnx]}
    assert main._commit() == ''


def test_neither_installed_nor_in_a_clone_it_says_so(monkeypatch, tmp_path):
    def requires(name):
        raise metadata.PackageNotFoundError(name)
    monkeypatch.setattr(main, 'PROJECT', tmp_path)
    monkeypatch.setattr(metadata, 'requires', requires)
    assert dict(main.packages()) == {'packages': 'unknown: the library is neither installed nor in its clone'}


def test_what_may_be_private_is_not_shown(monkeypatch):
    for name, value in {'PADDLE_MOBILE_BACKBONES_MIRROR': 'https://user:secret@host', 'HTTPS_PROXY': 'http://user:secret@host',
                        'PADDLE_MOBILE_BACKBONES_HOME': '/home/secret', 'AWS_SECRET_ACCESS_KEY': 'secret',
                        'OMP_NUM_THREADS': '/home/secret', 'CUDA_VISIBLE_DEVICES': '0,1'}.items():
        monkeypatch.setenv(name, value)
    text = '\n'.join(main.report())
    for private in ('secret', 'AWS', str(Path.home()) + os.sep, str(main.PROJECT)):
        assert private not in text
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if line)
    assert lines['PADDLE_MOBILE_BACKBONES_MIRROR'] == 'is set' == lines['OMP_NUM_THREADS']
    assert lines['CUDA_VISIBLE_DEVICES'] == '0,1'


def test_what_cannot_be_found_out_says_why_and_the_rest_follows(monkeypatch):
    def fails():
        raise RuntimeError(f'{Path.home()}/driver\nis too old')
    monkeypatch.setattr(paddle, 'get_device', fails)
    lines = list(main.report())
    assert any(line.split(maxsplit=1)[1:] == ['cannot be found out: RuntimeError: ~/driver is too old'] for line in lines)
    assert any(line.startswith('networks') for line in lines)


def test_it_takes_no_arguments():
    done = subprocess.run([sys.executable, '-m', 'image_classification', 'photo.jpg'], cwd=main.PROJECT, capture_output=True,
                          text=True)
    assert done.returncode == 2 and 'unrecognized arguments: photo.jpg' in done.stderr
