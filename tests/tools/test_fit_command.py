import pytest

from tests.tools.conftest import load_tool


@pytest.mark.parametrize('flags, words', [
    (['--minutes', 0], '--minutes is 0'), (['--minutes', 'nan'], '--minutes is nan'), (['--size', 8], '--size is 8'),
    (['--network', 'mobilenet_v9'], "no configuration 'mobilenet_v9'"), (['--test', 'nowhere'], '--test nowhere is no folder')])
def test_bad_flags_get_one_line_and_leave_nothing(call_tool, colours, tmp_path, flags, words):
    code, out, err = call_tool(load_tool('fit'), colours / 'train', '--output', tmp_path / 'out', *flags)
    assert code == 1 and words in err and len(err.splitlines()) == 1 and not (tmp_path / 'out').exists()


def test_a_name_that_is_too_long_for_a_file_gets_one_short_line(call_tool):
    code, out, err = call_tool(load_tool('fit'), 'x' * 5000)
    assert (code, out) == (1, '') and 'is longer than names of files may be' in err and len(err) < 200


def test_a_folder_that_is_not_there_is_named(call_tool, tmp_path):
    code, out, err = call_tool(load_tool('fit'), tmp_path / 'nowhere')
    assert (code, out) == (1, '') and 'does not exist; wanted a folder with a folder of pictures for each class' in err
