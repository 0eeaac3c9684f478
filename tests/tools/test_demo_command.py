import sys

import pytest

from tests.tools.conftest import load_tool


@pytest.mark.parametrize('arguments, words', [
    (['nothing'], 'nothing is no file, no directory and no model'), (['trained', '--port', 99999], '--port is 99999'),
    (['trained', '--max-pixels', 0], '--max-pixels is 0'), (['trained', '--keep-minutes', 0], '--keep-minutes is 0.0'),
    (['trained', '--max-store-mb', -1], '--max-store-mb is -1.0')])
def test_bad_flags_get_one_line(call_tool, trained, arguments, words):
    arguments = [trained if argument == 'trained' else argument for argument in arguments]
    code, out, err = call_tool(load_tool('demo'), *arguments)
    assert (code, out) == (1, '') and words in err and len(err.splitlines()) == 1


def test_without_the_extra_it_says_how_to_install_it(call_tool, monkeypatch, trained):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    for module in ('page', 'private_gradio'):
        monkeypatch.delitem(sys.modules, f'image_classification.demo.{module}', raising=False)
    code, out, err = call_tool(load_tool('demo'), trained)
    assert code == 1 and "needs gradio, which is not installed" in err and "pip install -e '.[demo]'" in err
