import numpy as np
import pytest

import image_classification as ic
from image_classification.explain import attention_maps
from tests.networks import settled


def test_a_pixel_reads_those_at_its_place_of_all_patches():
    model = settled(ic.create_model(ic.get_config('mobilevit_xxs', {'DATA.IMAGE_SIZE': 96})))
    found = attention_maps(model, np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))
    assert [(item.weights.shape, item.grid) for item in found] == [
        ((4, 144, 36), (12, 12)), ((4, 36, 9), (6, 6)), ((4, 16, 4), (4, 4))]      # 3 x 3 pixels have been made 4 x 4
    for item in found:
        assert item.weights.sum(-1) == pytest.approx(1.0, abs=1e-5)
        assert sorted(item.query_pixels) == list(range(item.grid[0] * item.grid[1]))
        row, column = np.divmod(item.key_pixels, item.grid[1])
        own_row, own_column = np.divmod(item.query_pixels[:, None], item.grid[1])
        assert ((row - own_row) % 2 == 0).all() and ((column - own_column) % 2 == 0).all()
