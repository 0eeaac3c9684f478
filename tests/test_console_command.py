"""`mobile-backbones fit DIR`: each sub-command is a file that runs as a program of its own."""
import runpy
import sys
from pathlib import Path

import pytest

import image_classification as ic
from image_classification import installation
from image_classification.config import Parser
from paddle_mobile_backbones import __main__ as console

PROJECT = Path(__file__).resolve().parents[1]
ASKED = {'train', 'fit', 'evaluate', 'predict', 'explain', 'export', 'quantize', 'serve', 'demo', 'convert-weights'}


@pytest.fixture
def call(monkeypatch):
    """call(*words): (exit code, the file that ran, its arguments)."""
    def run(*words):
        ran = []
        monkeypatch.setattr(installation, 'typed', '')
        monkeypatch.setattr(sys, 'path', list(sys.path))
        monkeypatch.setattr(sys, 'argv', ['mobile-backbones', *words])
        monkeypatch.setattr(runpy, 'run_path', lambda path, run_name: ran.append((run_name, Path(path), sys.argv[1:])))
        code = console.main()
        assert not ran or ran[0][0] == '__main__' and sys.argv[0] == str(ran[0][1]) and sys.path[0] == str(ran[0][1].parent)
        return code, *(ran[0][1:] if ran else ())
    return run


@pytest.mark.parametrize('name', sorted(installation.SUB_COMMANDS))
def test_each_sub_command_is_a_file_of_the_clone(call, name):
    code, path, words = call(name, 'DIR', '--minutes', '3')
    assert code == 0 and path.is_file() and path.is_relative_to(PROJECT) and words[-3:] == ['DIR', '--minutes', '3']
    assert words[:-3] == (['-eval'] if name == 'evaluate' else [])
    assert Parser(description='').prog == f'mobile-backbones {name}'


def test_those_that_a_user_needs_are_there(capsys, call):
    assert ASKED <= set(installation.SUB_COMMANDS)
    assert call('--help') == (0,) and call() == (2,)
    out, err = capsys.readouterr()
    assert out == err and all(f'\n  {name} ' in out for name in installation.SUB_COMMANDS)
    assert call('convert_weights', 'a')[0] == 0                    # as its file is called


def test_the_version_and_an_unknown_command(capsys, call):
    assert call('--version') == (0,) and capsys.readouterr().out == f'paddle-mobile-backbones {ic.__version__}\n'
    assert call('fitt') == (2,)
    err = capsys.readouterr().err
    assert "no command 'fitt'; wanted one of train, fit, " in err and err.endswith('the nearest is fit\n')
