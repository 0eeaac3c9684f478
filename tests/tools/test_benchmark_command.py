"""tools/benchmark.py as a program. What it runs here is tiny, and no time decides anything. Two engines beside a peer, which takes
half a minute: python -m pytest -m slow tests/tools/test_benchmark_command.py"""
import json
import os
import shutil

import pytest

from image_classification.cpu.settings import cpu_features, mkl_cpu_type
from image_classification.deploy.engines import available
from benchmarking import table
from benchmarking.contenders import Contender
from benchmarking.processes import alternate
from tests.tools.conftest import load_tool

MODEL = 'mobilenet_v3_small_x0_5'
TINY = ('--image-size', '32', '--batch-size', '2', '--repeat', '2', '--device', 'cpu')


def rows(text, number=0):
    """Of a table in a text: one {column: cell} for each row."""
    table = [block for block in text.split('\n\n') if block.startswith('|')][number]
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
    return [dict(zip(lines[0], line)) for line in lines[2:]]


@pytest.fixture(scope='module')
def timed(run_tool, tmp_path_factory):
    """(standard output, content of --json, content of --markdown) of forward passes and steps beside paddle.vision."""
    folder = tmp_path_factory.mktemp('benchmark')
    done = run_tool('benchmark.py', MODEL, *TINY, '--what', 'forward', 'step', '--engines', 'eager', 'paddle_inference',
                    '--peers', 'paddle.vision', '--memory', '--json', folder / 'new' / 'times.json',
                    '--markdown', folder / 'times.md')
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / 'new' / 'times.json').read_text()), (folder / 'times.md').read_text()


@pytest.mark.slow
def test_prints_a_row_for_each_thing_timed_and_a_column_for_each_contender(timed):
    found = rows(timed[0])
    assert [(row['model'], row['px'], row['what'], row['batch']) for row in found] == [
        (MODEL, '32', 'forward', '2'), (MODEL, '32', 'step', '2')]
    assert list(found[0])[4:] == ['eager', 'Paddle Inference', 'paddle.vision']
    assert found[1]['Paddle Inference'] == '-' and '±' in found[0]['Paddle Inference']


@pytest.mark.slow
def test_a_peers_cell_has_the_ratios_to_the_eager_network_and_to_the_fastest_other(timed):
    [forward, step] = timed[1]['results']
    ratios = forward['ratios']['paddle.vision']
    wanted = f'(eager {ratios["eager"]:.2f}, best {ratios["Paddle Inference"]:.2f})'
    assert rows(timed[0])[0]['paddle.vision'].endswith(wanted)
    times = {contender['label']: contender['median'] for contender in step['contenders']}
    assert step['ratios'] == {'paddle.vision': {'eager': times['paddle.vision'] / times['eager']}}


@pytest.mark.slow
def test_contenders_compute_in_turn(timed):
    forward = timed[1]['results'][0]
    assert forward['order'] == ['eager', 'Paddle Inference', 'paddle.vision'] * 2
    assert all(len(contender['milliseconds']) == 2 for contender in forward['contenders'])


@pytest.mark.slow
def test_the_figures_come_with_versions_machine_and_settings(timed):
    content = timed[1]
    assert content['machine']['processor'] and content['machine']['paddle'] and content['settings']['threads'] == 1
    assert all('paddle' in contender['versions'] for contender in content['results'][0]['contenders'])


@pytest.mark.slow
def test_the_markdown_file_has_what_is_printed_with_the_peak_memory(timed):
    assert timed[2] == timed[0]
    peaks = rows(timed[0], 1)
    assert 50 < int(peaks[0]['eager']) < 5000 and peaks[1]['Paddle Inference'] == '-'


@pytest.mark.slow
def test_tables_of_earlier_runs_are_printed_together(timed, run_tool, tmp_path):
    for name, model in (('a', 'zz'), ('b', 'aa')):
        results = [{**result, 'model': model} for result in timed[1]['results']]
        (tmp_path / name).write_text(json.dumps({**timed[1], 'results': results}))
    done = run_tool('benchmark.py', '--tables', tmp_path / 'a', tmp_path / 'b')
    assert [row['model'] for row in rows(done.stdout)] == ['aa', 'aa', 'zz', 'zz']
    assert done.stdout.replace('| aa |', f'| {MODEL} |').count('\n') == timed[0].count('\n') + 4
    (tmp_path / 'b').write_text(json.dumps({**timed[1], 'settings': {**timed[1]['settings'], 'threads': 2}}))
    assert 'different threads or devices' in run_tool('benchmark.py', '--tables', tmp_path / 'a', tmp_path / 'b').stderr
    assert 'was not written by --json' in run_tool('benchmark.py', '--tables', __file__).stderr


FAKE_PADDLEVIT = {
    'config.py': 'import os, pathlib\ndef get_config(path):\n    assert pathlib.Path(path).is_file(), path\n'
                 '    seen = pathlib.Path(__file__).with_name("seen.txt")\n'
                 '    seen.write_text(seen.read_text() + str(os.environ.get("MKL_DEBUG_CPU_TYPE")) + " ")\n',
    'mobileformer.py': 'from paddle import nn\ndef build_mobileformer(config):\n'
                       '    return nn.Sequential(nn.Conv2D(3, 5, 3), nn.AdaptiveAvgPool2D(1), nn.Flatten())\n',
    'configs/mobileformer_26m.yaml': '', 'seen.txt': ''}


@pytest.fixture
def paddlevit(tmp_path):
    """The outline of a clone of PaddleViT: a directory with a tiny network."""
    for name, text in FAKE_PADDLEVIT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.slow
def test_a_peer_of_paddle_runs_as_its_users_run_it_and_with_our_settings_beside_it(run_tool, paddlevit, monkeypatch):
    monkeypatch.delitem(load_tool('benchmark').ENVIRONMENT, 'MKL_DEBUG_CPU_TYPE', raising=False)
    done = run_tool('benchmark.py', 'mobileformer_26m', *TINY, '--engines', 'eager', '--peers', '--paddlevit', paddlevit,
                    '--same-settings')
    assert done.returncode == 0, done.stderr
    [row] = rows(done.stdout)
    assert '±' in row['PaddleViT'] and '±' in row['PaddleViT, our settings']
    assert sorted((paddlevit / 'seen.txt').read_text().split()) == sorted([mkl_cpu_type(cpu_features()) or 'None', 'None'])


@pytest.mark.slow
def test_times_the_input_pipeline_alone_by_its_own_tool(run_tool, tmp_path):
    options = '--images 2 --batch-size 1 --repeat 1 --width 40 --height 30 --image-size 32 --workers 0 --policies plain'
    done = run_tool('benchmark.py', '--what', 'input', '--input-options', options, '--json', tmp_path / 'input.json')
    assert done.returncode == 0 and rows(done.stdout)[0]['pipeline'] == 'ours, pillow', done.stderr
    content = json.loads((tmp_path / 'input.json').read_text())
    assert content['input']['images_per_second']['plain']['ours, pillow'][0] > 0 and not content['results']
    done = run_tool('benchmark.py', '--what', 'input', '--input-options', '--images 1')
    assert 'What did not run' in done.stdout and '--images 1 is less than two batches' in done.stdout


FAILURES = {'os.abort()': 'ended with code -6',
            'return type("Nan", (), {"eval": print, "__call__": lambda self, x: x / 0})()': 'the result is not finite'}


@pytest.mark.slow
def test_contenders_that_fail_give_a_reason_while_the_others_go_on(paddlevit):
    job = {'name': 'mobileformer_26m', 'what': 'forward', 'batch': 1, 'size': 32, 'channels': 3, 'threads': 1, 'device': 'cpu',
           'amp': False, 'settings': False, 'directory': ''}
    rivals = [Contender(who, who, {**job, 'who': who}, None) for who in ('timm', 'eager')]
    for i, code in enumerate(FAILURES):
        shutil.copytree(paddlevit, paddlevit / str(i), ignore=shutil.ignore_patterns('[0-9]'))
        (paddlevit / str(i) / 'mobileformer.py').write_text(f'import os\ndef build_mobileformer(config):\n    {code}\n')
        rivals.append(Contender('PaddleViT', code, {**job, 'who': 'PaddleViT', 'directory': str(paddlevit / str(i))}, None))
    [timm, eager, *failed], order = alternate(rivals, os.environ, '/no/such/python', 2)
    assert '/no/such/python' in timm['error'] and not eager['error'] and order == ['eager', 'eager']
    for contender in failed:
        assert FAILURES[contender['label']] in contender['error']
    row = table.row({'model': '', 'size': 0, 'what': '', 'batch': 0, 'contenders': failed, 'ratios': {}}, list(FAILURES))
    assert row.split(' | ')[4:] == ['failed', 'failed |\n']


@pytest.mark.parametrize('arguments, message', [
    (['nothing*'], 'no model fits nothing*'),
    ([MODEL, '--amp', '--device', 'cpu'], '--amp needs a GPU'),
    ([MODEL, '--peers', 'PaddleViT'], '--peers PaddleViT also needs --paddlevit'),
    ([MODEL, '--peers', '--paddleclas', '.'], 'has no ppcls/arch/backbone'),
    ([MODEL, '--json', __file__], 'is not overwritten')])
def test_what_cannot_be_run_is_said_at_once(run_tool, arguments, message):
    done = run_tool('benchmark.py', *arguments)
    assert done.returncode == 1 and message in done.stderr and not done.stdout


@pytest.mark.slow
def test_every_installed_engine_runs_its_export(run_tool, tmp_path):
    """python -m pytest -m slow tests/tools/test_benchmark_command.py"""
    for _ in range(2):                                             # the second time, the exports are there
        done = run_tool('benchmark.py', MODEL, *TINY, '--exports', tmp_path)
        assert done.returncode == 0 and 'What did not run' not in done.stdout, done.stdout + done.stderr
        assert len(rows(done.stdout)[0]) == 4 + 2 + len(available())
