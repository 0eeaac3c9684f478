import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.explain import attention_maps
from tests.networks import settled


def test_attention_of_a_hybrid_stands_in_the_picture():
    model = settled(ic.create_model(ic.get_config('mobilenet_v4_hybrid_medium', {'MODEL.WIDTH': 0.1, 'DATA.IMAGE_SIZE': 64})))
    found = attention_maps(model, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    assert [(item.kind, item.weights.shape, item.grid) for item in found] == [
        ('pixels', (4, 16, 4), (4, 4))] * 4 + [('pixels', (4, 4, 4), (2, 2))] * 4
    assert list(found[0].key_pixels) == [0, 2, 8, 10] and list(found[4].key_pixels) == [0, 1, 2, 3]
    for item in found:
        assert item.weights.sum(-1) == pytest.approx(1.0, abs=1e-5)


def test_a_network_of_convolutions_has_none():
    with paddle.LazyGuard():
        model = ic.create_model('mobilenet_v4_conv_small_035')
    with pytest.raises(ic.UserError, match='has no attention'):
        attention_maps(model, np.zeros((64, 64, 3), np.uint8))
