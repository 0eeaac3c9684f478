"""tools/maintenance/release_weights.py: a training's weights as a file that a tag names."""
import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.checkpoint import load_network, write_network
import release_weights

NAME = 'mobilenet_v3_small_x0_5'


@pytest.fixture
def run(tmp_path):
    network = ic.create_model(ic.get_config(NAME, {'MODEL.NUM_CLASSES': 3, 'DATA.IMAGE_SIZE': 32, 'DATA.DATA_PATH': '/home/me/pictures',
                                                   'SAVE': '/home/me/runs'}))
    network.eval()
    write_network(tmp_path / 'best.safetensors', network, network.config, ['a', 'b', 'c'])
    return tmp_path


def test_it_is_half_as_large_and_answers_alike_and_has_no_paths(run):
    release_weights.main([str(run), str(run / 'released.safetensors')])
    images = paddle.randn([2, 3, 32, 32])
    network, class_names = load_network(run / 'released.safetensors')
    expected = load_network(run / 'best.safetensors')[0](images).numpy()
    np.testing.assert_allclose(network(images).numpy(), expected, atol=1e-2 * expected.std())
    assert class_names == ['a', 'b', 'c'] and (network.config.DATA.DATA_PATH, network.config.SAVE) == ('', './output')
    assert b'/home/me' not in (run / 'released.safetensors').read_bytes()
    assert (run / 'released.safetensors').stat().st_size < 0.6 * (run / 'best.safetensors').stat().st_size


def test_it_writes_over_nothing(run):
    with pytest.raises(ic.UserError, match='exists'):
        release_weights.release(run, run / 'best.safetensors')


def test_numbers_beyond_float16_are_refused(run):
    network, class_names = load_network(run / 'best.safetensors')
    next(iter(network.parameters())).set_value(paddle.full_like(next(iter(network.parameters())), 1e6))
    write_network(run / 'best.safetensors', network, network.config, class_names)
    with pytest.raises(ic.UserError, match='beyond float16'):
        release_weights.release(run, run / 'released.safetensors')
