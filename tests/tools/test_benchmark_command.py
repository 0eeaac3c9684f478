import json

import image_classification as ic
from tools.benchmark import PEERS


def test_times_networks_and_writes_the_figures(run_tool, tmp_path):
    done = run_tool('benchmark.py', 'mobilenet_v3_small_x0_5', '--image-size', '32', '--batch-size', '2', '--repeat', '2',
                    '--step', '--json', tmp_path / 'times.json')
    assert done.returncode == 0, done.stderr
    rows = [line.split(' | ') for line in done.stdout.splitlines() if line.startswith('| mobilenet')]
    assert [row[2] for row in rows] == ['forward', 'step']
    times = json.loads((tmp_path / 'times.json').read_text())['results'][0]['times']
    assert all(len(times[kind]['ours']) == 2 and min(times[kind]['ours']) > 0 for kind in ('forward', 'step'))


def test_an_unknown_model_is_named(run_tool):
    done = run_tool('benchmark.py', 'nothing*')
    assert done.returncode == 1 and 'no model fits nothing*' in done.stderr


def test_peers_belong_to_models_of_ours():
    assert set(PEERS) <= set(ic.list_models())
