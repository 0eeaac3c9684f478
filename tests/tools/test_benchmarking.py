"""The parts of tools/benchmark.py: who runs against whom, and what becomes of the figures."""
import subprocess
import sys
from pathlib import Path

import pytest

import image_classification as ic
from image_classification.deploy.engines import ENGINES, FILES
from benchmarking import surroundings, table
from benchmarking.contenders import PADDLE, PEERS, TORCH
from benchmarking.processes import half_the_interquartile_range

ROOT = Path(__file__).resolve().parents[2]


def test_peers_belong_to_models_of_ours_and_to_known_libraries():
    assert set(PEERS) <= set(ic.list_models())
    assert {library for peers in PEERS.values() for library in peers} == {*TORCH, *PADDLE}


@pytest.mark.parametrize('name', sorted(name for name, peers in PEERS.items() if 'paddle.vision' in peers))
def test_names_of_paddle_vision_exist(name):
    import paddle
    assert callable(getattr(paddle.vision.models, PEERS[name]['paddle.vision'].split()[0]))


def contender(label, who, median=None, error=None):
    return {'label': label, 'who': who, 'error': error, 'median': median, 'spread': 0.5, 'peak_mib': None}


def test_ratios_leave_out_who_failed():
    found = table.ratios([contender('eager', 'eager', 10.0), contender('ONNX Runtime', 'onnxruntime', error='no'),
                          contender('timm', 'timm', 15.0), contender('torchvision', 'torchvision', error='no')])
    assert found == {'timm': {'eager': 1.5}}


def test_our_columns_come_first_whoever_was_there_first():
    results = [{'contenders': [contender('timm', 'timm', 1.0)]}, {'contenders': [contender('eager', 'eager', 1.0)]}]
    assert table.columns(results) == ['eager', 'timm']


@pytest.mark.parametrize('median, text', [(1.234, '1.23 ± 0.50'), (12.34, '12.3 ± 0.5'), (1234.4, '1234 ± 0')])
def test_a_cell_has_three_digits(median, text):
    assert table.cell(contender('eager', 'eager', median)) == text


def test_the_spread_is_half_the_interquartile_range():
    assert half_the_interquartile_range([1.0, 2.0, 3.0, 4.0, 5.0]) == 1.0
    assert half_the_interquartile_range([7.0]) == 0.0


def test_peak_memory_is_that_of_a_process_and_grows():
    code = ("from benchmarking.child import peak_memory; before = peak_memory(); held = bytearray(b'x') * (200 << 20); "
            'print(before, peak_memory())')
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT / 'tools', capture_output=True, text=True, check=True)
    before, after = map(float, result.stdout.split())
    assert before > 1 and 190 < after - before < 300


@pytest.mark.parametrize('together', [True, False])
def test_exports_are_made_at_once_or_else_one_by_one_and_made_once(monkeypatch, tmp_path, together):
    calls = []

    def fake(name, engines, folder, size, environment, options):
        calls.append(engines)
        if len(engines) > 1 and not together or engines == ['openvino']:
            return None, 'no'
        directory = folder / f'{len(calls)}'
        directory.mkdir(parents=True)
        (directory / 'inference.yaml').write_text(f'input: {{image_size: {size}}}')
        for engine in engines:
            for file in FILES[engine][0]:
                (directory / file).touch()
        return directory, None
    monkeypatch.setattr(surroundings, '_export', fake)
    monkeypatch.setattr(surroundings, 'available', lambda: ENGINES)
    found = surroundings.export('net', ENGINES, tmp_path, 32, {})
    wanted, alone = set() if together else {'openvino'}, len(surroundings.PHONE_ENGINES)
    assert {engine for engine, (_, error) in found.items() if error} == wanted
    assert len(calls) == (1 if together else 4) + alone and calls[:alone] == [[engine] for engine in surroundings.PHONE_ENGINES]
    again = surroundings.export('net', ENGINES, tmp_path, 32, {})
    assert len(calls) == (1 if together else 5) + alone and again['onnxruntime'] == found['onnxruntime']
    for size, options in ((64, ()), (32, ['--fixed-size'])):
        before = len(calls)
        surroundings.export('net', ['onnxruntime'], tmp_path, size, {}, options)
        assert calls[before:] == [['onnxruntime']]


def test_an_engine_that_is_not_installed_is_said_to_be_so(monkeypatch, tmp_path):
    monkeypatch.setattr(surroundings, 'available', lambda: [])
    [(directory, error)] = surroundings.export('net', ['openvino'], tmp_path, 32, {}).values()
    assert directory is None and table.cell(contender('OpenVINO', 'openvino', error=error)) == 'not installed'
