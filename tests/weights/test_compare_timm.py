"""The comparison with timm, without timm. With it: python tools/maintenance/compare_timm.py --torch-python PYTHON"""
import numpy as np
import paddle
import pytest

import compare_timm
import image_classification as ic

EQUAL = {'parameters': (5, 5), 'written': True, 'float64': [1e-8, 1e-8], 'float32': [1e-5, 1e-5], 'rounding': [1e-5, 1e-5],
         'fused': [1e-5, 1e-5], 'features': 1e-8, 'gradients': 1e-9}


@pytest.mark.parametrize('change, faults', [
    ({}, []), ({'parameters': (5, 6)}, ['parameters']), ({'written': False}, ['written']),
    ({'float64': [1e-8, 3e-6]}, ['float64']),
    ({'float32': [2e-4, 1e-5]}, ['float32']), ({'float32': [2e-4, 1e-5], 'rounding': [1.5e-4, 1e-5]}, []),
    ({'gradients': float('nan')}, ['gradients']), ({'features': 1e-3}, ['features'])])
def test_a_row_says_what_differs(change, faults):
    assert compare_timm.faults_of({**EQUAL, **change}) == faults


def test_features_are_compared_where_strides_and_channels_agree(float64):
    model = ic.create_model('mobilenet_v1_x0_25').eval()
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 64))
    with paddle.no_grad():
        maps = [value.numpy() for value in model.forward_intermediates(paddle.to_tensor(image))]
    other = maps[:-1] + [np.zeros([1, 7, 2, 2])]
    numbers = {'image0': image, **{f'map{i}': value for i, value in enumerate(other)}}
    assert compare_timm.features_differ(model, numbers, [2, 4, 8, 16, 32]) == (0.0, 4)
    numbers['map0'] = maps[0] + 0.1 * maps[0].std()
    assert compare_timm.features_differ(model, numbers, [2, 4, 8, 16, 32])[0] == pytest.approx(0.1)


def test_a_pattern_of_no_variant_is_named(capsys):
    with pytest.raises(SystemExit):
        compare_timm.main(['--torch-python', 'python', 'nothing_*'])
    assert 'no variant of nothing_* has a name of timm' in capsys.readouterr().err
