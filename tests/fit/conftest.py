import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """folder({'class': number of pictures}, part=''): a directory of noisy pictures, each class of its own colour."""
    root, rng = tmp_path / 'my pictures', np.random.default_rng(0)

    def make(classes, part=''):
        for number, (name, count) in enumerate(classes.items()):
            place = root / part / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 40, (40 + i % 5, 48, 3), dtype=np.uint8)
                pixels[..., number % 3] += 150
                Image.fromarray(pixels).save(place / f'picture {i}.png')
        return root
    return make
