import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from tests.networks import shallow

SIDE, OBJECT = 128, 40                                             # pixels


def scene(rng, *objects):
    """(3, SIDE, SIDE): noise, and for each (class 0 to 2, row, column) a square of that colour."""
    pixels = rng.normal(0, 0.3, (3, SIDE, SIDE)).astype(np.float32)
    for colour, row, column in objects:
        pixels[colour, row:row + OBJECT, column:column + OBJECT] += 2
    return pixels


@pytest.fixture(scope='session')
def knows_colours():
    """A network that tells which colour the square in a scene has, wherever it is. EdgeNeXt has no running statistics."""
    paddle.seed(0)
    rng = np.random.default_rng(0)
    model = shallow('edgenext_xx_small', MODEL__NUM_CLASSES=3)
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
    for _ in range(24):
        labels = rng.integers(0, 3, 8)
        images = np.stack([scene(rng, (label, *rng.integers(0, SIDE - OBJECT, 2))) for label in labels])
        F.cross_entropy(model(paddle.to_tensor(images)), paddle.to_tensor(labels)).backward()
        optimizer.step()
        optimizer.clear_grad()
    return model.eval()
