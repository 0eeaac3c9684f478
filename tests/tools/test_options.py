"""The options of all commands: any spelling, and bounds of every number."""
import importlib
from dataclasses import fields

import pytest

import image_classification as ic
from tests.tools.conftest import TOOLS, load_tool

COMMANDS = sorted(path.stem for path in TOOLS.glob('*.py') if path.stem != 'command_setup')


def parse(tool, words):
    """The parsed arguments of tools/<tool>.py."""
    if tool == 'serve':
        return load_tool('serve').parse(settings(), words)
    return load_tool(tool).parse(words)


def settings():
    pytest.importorskip('uvicorn')
    return importlib.import_module('image_classification.deploy.serving.uploads').Settings


def test_every_command_takes_its_options_in_any_spelling():
    sources = {name: (TOOLS / f'{name}.py').read_text() for name in COMMANDS}
    assert [name for name, text in sources.items() if ' Parser(' not in text and 'argument_parser(' not in text] == []


@pytest.mark.parametrize('tool, words', [
    ('predict', 'm p --top_k 2 -batch_size 3'), ('export', 'm -image-size 32 --num_classes 3'), ('fit', 'd -minutes 1'),
    ('quantize', 'm -data_path d --calibration_images 8'), ('demo', 'm --max_upload_mb 3'), ('explain', 'm p -output o')])
def test_a_command_takes_its_options_in_any_spelling(tool, words):
    assert vars(parse(tool, words.split())) == vars(parse(tool, [
        f'--{word.lstrip("-").replace("_", "-")}' if word.startswith('-') else word for word in words.split()]))


@pytest.mark.parametrize('tool, words', [
    ('serve', 'm --max-upload-mb inf'), ('serve', 'm --timeout inf'), ('serve', 'm --max-wait-ms inf'),
    ('serve', 'm --max-wait-ms -1'),
    ('serve', 'm --max-batch 10000000'), ('serve', 'm --max-queue 0'), ('serve', 'm --decode-threads 100000'),
    ('serve', 'm --host='),
    ('serve', 'm --port 99999'), ('serve', 'm --port -1'), ('serve', 'm --threads 100000'), ('serve', 'm --threads 0'),
    ('serve', 'm --max-pixels 0'), ('demo', 'm --max-upload-mb inf'), ('demo', 'm --host='), ('demo', 'm --timeout nan'),
    ('demo', 'm --max-store-mb -1'), ('demo', 'm --keep-minutes 0'), ('demo', 'm --keep-minutes inf'),
    ('demo', 'm --port 65536'),
    ('predict', 'm p --max-download-mb inf'), ('predict', 'm p --timeout 0'), ('predict', 'm p --timeout nan'),
    ('predict', 'm p --top-k 0'),
    ('predict', 'm p --top-k -3'), ('predict', 'm p --batch-size 0'), ('predict', 'm p --batch-size 10000000'),
    ('export', '--model m --num-classes 0'), ('export', '--model m --num-classes -1'),
    ('export', '--model m --num-classes 1000000000'),
    ('export', 'm --image-size 100000'), ('export', 'm --image-size 0'), ('fit', 'd --minutes nan'), ('fit', 'd --minutes -1'),
    ('fit', 'd --minutes 0'), ('fit', 'd --minutes inf'), ('fit', 'd --size 0'), ('fit', 'd --size 100000'),
    ('fit', 'd --seed -1'),
    ('fit', 'd --seed 4294967296'), ('quantize', 'm --min-agreement nan'), ('quantize', 'm --min-agreement 1.5'),
    ('quantize', 'm --images -1'), ('quantize', 'm --calibration-images 0'), ('quantize', 'm --threads 100000'),
    ('convert_weights', 'i o --num-classes 0'), ('search_dilation', 'c --max-dilation -1'),
    ('detect_faces', 'p --min-score nan'),
    ('detect_faces', 'p --min-score 2'), ('benchmark', 'm --repeat 0'), ('benchmark', 'm --batch-size 1 0'),
    ('benchmark', 'm --threads 100000'), ('benchmark_serve', 'm --seconds inf'), ('benchmark_serve', 'm --clients 1 0'),
    ('benchmark_input', '--workers -1'), ('benchmark_input', '--width 0'), ('benchmark_input', '--repeat 0')])
def test_a_number_out_of_its_bounds_is_named_with_them(tool, words):
    *_, option, value = words.replace('=', '= ').split(' ')
    option = option.rstrip('=') if option.startswith('--') else next(word for word in words.split() if word.startswith('--'))
    with pytest.raises(ic.UserError) as caught:
        parse(tool, words.split())
    assert str(caught.value).startswith(f'{option} is ') and '; wanted ' in str(caught.value)


def test_the_settings_of_a_server_have_the_same_bounds():
    Settings = settings()
    for field in fields(Settings):
        for value in (-1, float('nan'), float('inf'), 10 ** 15):
            with pytest.raises(ic.UserError, match=f'{field.name} is .*; wanted '):
                Settings(**{field.name: value})
    assert Settings(max_wait_ms=0).max_wait_ms == 0
    with pytest.raises(ic.UserError, match='max_batch is 2.5; wanted a whole number from 1 to 1024'):
        Settings(max_batch=2.5)


def test_a_name_that_is_nearly_one_is_answered_with_the_nearest(call_tool):
    for tool, words in (('predict', ['mobilenet', 'a.jpg']), ('serve', ['mobilenet'])):
        code, out, err = call_tool(load_tool(tool), *words)
        assert code == 1 and len(err.splitlines()) == 1
        assert all(name in err for name in ('mobilenet_v1_x0_25', 'mobilenet_v2_x1_0', 'mobilenet_v3_small_x1_0'))
