"""The parts of tools/benchmark.py: who runs against whom, and what becomes of the figures."""
import math

import image_classification as ic
import pytest

from tools.benchmarking import child, table
from tools.benchmarking.contenders import PADDLE, PEERS, TORCH
from tools.benchmarking.processes import half_the_interquartile_range


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


def test_peak_memory_is_that_of_this_process_and_grows():
    before = child.peak_memory()
    held = bytearray(b'x') * (200 << 20)
    assert len(held) and child.peak_memory() > max(20, before) and not math.isnan(before)
