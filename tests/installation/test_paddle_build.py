"""Which PaddlePaddle is here, whatever its build is called, and the line to type where none is or a wrong one."""
import re
import warnings
from importlib import metadata

import pytest
from packaging.requirements import Requirement

import image_classification as ic
from image_classification import errors
from image_classification.installation import missing_paddle, paddle_build
from image_classification.installation.missing_paddle import MissingPaddle
from tests.installation.setup_file import read_setup


@pytest.fixture
def machine(monkeypatch):
    """machine({name of a distribution: version}, gpu): makes this one look so."""
    def make(installed, gpu=False):
        def version(name):
            if name not in installed:
                raise metadata.PackageNotFoundError(name)
            return installed[name]
        monkeypatch.setattr(paddle_build.metadata, 'version', version)
        monkeypatch.setattr(missing_paddle, 'has_nvidia_gpu', lambda: gpu)
        if not installed:
            monkeypatch.delitem(paddle_build.sys.modules, 'paddle', raising=False)
            monkeypatch.setattr(paddle_build.importlib.util, 'find_spec', lambda name: None)
    paddle_build.check_paddle.cache_clear()
    yield make
    paddle_build.check_paddle.cache_clear()


@pytest.mark.parametrize('build', paddle_build.BUILDS)
@pytest.mark.parametrize('version', ['3.1.0', '3.1.1', '3.2.2', '3.3.1', '3.3.0.post126', '3.3.0rc1', '0.0.0'])
def test_either_build_will_do(machine, build, version):
    machine({build: version})
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        paddle_build.check_paddle()


def test_without_paddle_the_line_to_type_is_that_of_the_machine(machine):
    machine({})
    with pytest.raises(MissingPaddle, match=r"is not installed. Install it by: .*pip install 'paddlepaddle>=3.1,<3.4' \(for a "
                                            r'machine with an NVIDIA GPU: .*paddlepaddle-gpu==3\.3\.1 -i https://') as caught:
        paddle_build.check_paddle()
    assert caught.value.name == 'paddle'                           # as that of Python's own error
    machine({}, gpu=True)
    with pytest.raises(MissingPaddle, match='for the NVIDIA GPU of this machine by: .*pip install paddlepaddle-gpu==3.3.1 -i '):
        paddle_build.check_paddle()


def test_the_build_for_gpus_that_pip_finds_by_itself_is_too_old(machine):
    machine({'paddlepaddle-gpu': '2.6.2'}, gpu=True)
    with pytest.raises(MissingPaddle, match='paddlepaddle-gpu 2.6.2 is too old; wanted .* Install one for the NVIDIA GPU'):
        paddle_build.check_paddle()


@pytest.mark.parametrize('version', ['3.0.0', '3.4.0', '4.0.0'])
def test_a_version_that_was_not_tested_is_named(machine, version):
    machine({'paddlepaddle': version})
    with pytest.warns(UserWarning, match=rf'paddlepaddle {version} was not tested with this library; wanted .*3\.1'):
        paddle_build.check_paddle()


def test_two_builds_at_a_time_are_named_with_the_way_out(machine):
    machine({'paddlepaddle': '3.3.1', 'paddlepaddle-gpu': '3.3.1'})
    with pytest.warns(UserWarning, match='over the other. Remove both by: .*pip uninstall paddlepaddle paddlepaddle-gpu;'):
        paddle_build.check_paddle()


def test_pip_is_asked_for_neither_build_unless_an_extra_names_it():
    given = read_setup()
    required = {Requirement(text).name for text in given['install_requires']}
    assert not required & set(paddle_build.BUILDS)
    for extra, names in given['extras_require'].items():
        builds = {Requirement(text).name for text in names} & set(paddle_build.BUILDS)
        wanted = {'cpu': {'paddlepaddle'}, 'gpu': {'paddlepaddle-gpu'}, 'test': {'paddlepaddle'}}
        assert builds == wanted.get(extra, set()), extra
    for extra in ('cpu', 'gpu'):
        assert [Requirement(text).specifier for text in given['extras_require'][extra]] == [missing_paddle.WANTED]


def test_a_public_name_without_paddle_says_what_to_type(monkeypatch):
    def fails(name):
        raise ModuleNotFoundError("No module named 'paddle'", name='paddle')
    monkeypatch.delitem(vars(ic), 'create_model', raising=False)
    monkeypatch.setattr(ic.importlib, 'import_module', fails)
    with pytest.raises(MissingPaddle, match='PaddlePaddle is not installed. Install it .*pip install'):
        ic.create_model


def test_a_command_without_paddle_ends_in_one_line(capsys, monkeypatch):
    error = ModuleNotFoundError("No module named 'paddle'", name='paddle')

    @errors.exit_with_message
    def main():
        raise error
    with pytest.raises(SystemExit) as end:
        main()
    first = capsys.readouterr().err
    errors._without_traceback(type(error), error, None)            # while modules are imported, before `main`
    assert end.value.code == 1 and first == capsys.readouterr().err
    assert re.fullmatch(r'error: PaddlePaddle is not installed\. Install it .*\n', first)
