"""python -m image_classification, the text for a bug report."""
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy
import paddle
import pytest

import image_classification as ic
from image_classification import __main__ as main
from image_classification.config import families


def test_it_prints_versions_device_networks_and_extras(capsys):
    main.main([])
    out, err = capsys.readouterr()
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line)
    assert not err and lines['mallopt'] == main.settings.tune_cpu()['mallopt']
    assert lines['library'].startswith(f'paddle-mobile-backbones {ic.__version__}')
    assert lines['PaddlePaddle'].startswith(paddle.__version__) and lines['numpy'] == numpy.__version__
    assert lines['Python'].startswith(sys.version.split()[0]) and lines['device'] == paddle.get_device()
    assert lines['networks'].startswith(f'{len(ic.list_models())} in {len(families())} families')
    assert 'blazeface (3), ' in lines['families'] and lines['families'].count('(') == len(families())
    assert lines['weights'].startswith(f'{len(ic.list_pretrained())} published for ')
    assert {'paddlepaddle', 'yacs', 'Pillow', 'safetensors', 'tqdm', '[onnx]', '[openvino]', '[serve]', '[test]'} <= set(lines)


def test_a_reader_who_has_seen_enough_ends_it_quietly():
    with subprocess.Popen([sys.executable, '-m', 'image_classification'], cwd=main.ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b'' and process.wait() == 141


@pytest.fixture
def installed(monkeypatch):
    """installed(requirement, ..., extras=...): what `packages` says of a library that pip installed with these requirements."""
    def say(*requirements, extras=('own',)):
        monkeypatch.setattr(metadata, 'metadata', lambda name: SimpleNamespace(get_all=lambda key: extras))
        monkeypatch.setattr(metadata, 'requires', lambda name: requirements)
        return dict(main.packages())
    return say


def test_what_is_missing_is_named_with_how_to_install_it(installed, monkeypatch):
    missing = 'no-such-package>=2; python_version >= "3.8" and extra == "own"'
    assert installed(missing)['[own]'] == "missing: no-such-package is not installed (wanted >=2); pip install -e '.[own]'"
    monkeypatch.setattr('image_classification.installation.IS_CLONE', False)
    assert installed(missing)['[own]'].endswith("pip install 'paddle-mobile-backbones[own]'")


def test_a_version_that_does_not_fit_is_named(installed):
    own = installed('numpy<1.0; extra == "own"', 'yacs')
    assert own['[own]'] == f"missing: numpy {numpy.__version__} does not fit (wanted <1.0); pip install -e '.[own]'"
    assert own['yacs'] == metadata.version('yacs')
    assert installed('numpy>=1.0,<99; extra == "own"')['[own]'] == f'numpy {numpy.__version__}'
    assert installed('numpy<1.0')['numpy'] == f'{numpy.__version__}, does not fit (wanted <1.0)'


def test_what_is_for_another_python_is_not_missing(installed):
    assert installed('yacs; extra == "own"', 'no-such-package; python_version < "3.0" and extra == "own"')['[own]'].startswith('yacs ')


@pytest.mark.parametrize('builds, clone, wanted', [
    ({'paddlepaddle': 1}, True, {'[cpu]', '[test]'}), ({'paddlepaddle-gpu': 1}, False, {'[gpu]'}), ({}, False, {'[cpu]'}),
    ({'paddlepaddle': 1, 'paddlepaddle-gpu': 1}, False, {'[cpu]', '[gpu]'})])
def test_extras_that_one_should_not_install_are_not_listed_as_missing(installed, monkeypatch, builds, clone, wanted):
    monkeypatch.setattr(main, 'installed_builds', lambda: builds)
    monkeypatch.setattr(main, 'IS_CLONE', clone)
    assert {name for name in installed('yacs', extras=['cpu', 'gpu', 'test']) if name != 'yacs'} == wanted


def test_each_extra_has_its_own_packages_once(installed):
    found = installed('yacs; extra == "own"', 'yacs; extra == "own"', 'tqdm; extra == "other"', extras=['own', 'other'])
    assert found == {'[own]': f'yacs {metadata.version("yacs")}', '[other]': f'tqdm {metadata.version("tqdm")}'}


def test_paddle_for_gpus_has_another_name(installed, monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)
    monkeypatch.setattr(metadata, 'version', version)
    assert installed('paddlepaddle>=3.0') == {'paddlepaddle': paddle.__version__, '[own]': ''}


def test_not_installed_it_says_so(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)
    monkeypatch.setattr(metadata, 'metadata', requires)
    assert dict(main.packages()) == {'packages': 'unknown: the library is not installed; in its clone: pip install -e .'}


def test_what_may_be_private_is_not_shown(monkeypatch):
    for name, value in {'PADDLE_MOBILE_BACKBONES_MIRROR': 'https://user:secret@host', 'HTTPS_PROXY': 'http://user:secret@host',
                        'PADDLE_MOBILE_BACKBONES_HOME': '/home/secret', 'AWS_SECRET_ACCESS_KEY': 'secret',
                        'OMP_NUM_THREADS': '/home/secret', 'CUDA_VISIBLE_DEVICES': '0,1'}.items():
        monkeypatch.setenv(name, value)
    text = '\n'.join(main.report())
    for private in ('secret', 'AWS', str(Path.home()) + os.sep, str(main.ROOT)):
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


def test_where_there_is_no_paddle_the_rest_is_said(monkeypatch):
    monkeypatch.setattr(main, '_has_paddle', lambda: False)
    lines = [line for part in (main.versions, main.machine, main.networks) for line in part()]
    assert dict(lines)['PaddlePaddle'].startswith('missing') and 'device' not in dict(lines)
    assert {'library', 'cores', 'networks', 'engines'} <= set(dict(lines))


def test_it_ends_with_the_questions_of_a_bug_report(capsys, monkeypatch):
    monkeypatch.setattr(main, 'report', lambda: ['PaddlePaddle  3.3.1'])
    main.main([])
    assert capsys.readouterr().out == f'PaddlePaddle  3.3.1\n{main.QUESTIONS}\n'


def test_it_takes_no_arguments(capsys):
    with pytest.raises(SystemExit) as end:
        main.main(['photo.jpg'])
    assert end.value.code == 2 and 'unrecognized arguments: photo.jpg' in capsys.readouterr().err
