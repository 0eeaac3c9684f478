"""The tool that says where the time of a training step goes."""
import numpy as np
import pytest

import benchmark_trainer
from tests.engine.test_launch import flags  # noqa: F401  (a fixture)


def test_the_parts_of_a_real_training_add_up_to_its_steps(flags, capsys):  # noqa: F811
    benchmark_trainer.main(['-steps', '2', *map(str, flags)])
    lines = [line.strip('| ').split(' | ') for line in capsys.readouterr().out.splitlines() if line.startswith('| ')]
    assert lines[0] == ['part', 'ms', 'share of the time', 'share of the computing']
    shares = {line[0]: float(line[2].strip('%')) for line in lines[1:]}
    assert {'waiting for data', 'mixing and targets', benchmark_trainer.NETWORK, 'optimizer', 'moving average', 'the rest',
            'outside of the network, without waiting'} < set(shares)
    assert shares['a step'] == 100 and all(0 <= share <= 100 for share in shares.values())


def test_shares_are_medians_of_what_was_timed():
    step = {'waiting for data': np.array([1.0, 0.0]), benchmark_trainer.NETWORK: np.array([7.0, 6.0]), 'optimizer': np.ones(2),
            'whole': np.array([10.0, 8.0])}
    rows = {line.split(' | ')[0].strip('| '): line for line in benchmark_trainer.table([step] * 3)}
    assert rows['outside of the network, without waiting'].endswith('| 2000.00 | 20.00% | 25.00% |')
    assert rows['the rest'].endswith('| 1000.00 | 10.00% | 12.50% |')


def test_a_part_within_another_counts_once(monkeypatch):
    times = iter(np.array([[1.0, 0], [2.0, 0], [7.0, 0], [10.0, 0]]))   # outer begins, inner begins, inner ends, outer ends
    monkeypatch.setattr(benchmark_trainer, 'now', lambda: next(times))
    clock = benchmark_trainer.Clock()
    clock.steps.append({})
    clock.timed('outer', clock.timed('inner', lambda: None))()
    assert {part: seconds[0] for part, seconds in clock.steps[0].items()} == {'inner': 5.0, 'outer': 4.0}


def test_no_steps_are_refused(capsys):
    with pytest.raises(SystemExit):
        benchmark_trainer.main(['-cfg', 'mobileformer_26m', '-steps', '0'])
    assert '-steps is 0' in capsys.readouterr().err
