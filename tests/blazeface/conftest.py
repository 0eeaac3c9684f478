import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.blazeface import BlazeFaceDetector
from image_classification.weights import from_torch, load_state
from tests.golden import DATA


def published_state(name):
    """{published key: array} of the real weights, `anchors` among them."""
    return dict(np.load(DATA / f'{name}_weights.npz'))


def with_published_weights(name, dtype='float32'):
    """A detector on `blazeface_front` or `blazeface_back` with the real weights."""
    paddle.set_default_dtype(dtype)
    model = ic.create_model(name)
    paddle.set_default_dtype('float32')
    load_state(model, from_torch(model, published_state(name)), name)
    return BlazeFaceDetector(model)


def picture(name):
    """uint8 (128, 128, 3)"""
    return np.load(DATA / f'blazeface_front_real_{name}.npz')['image']


@pytest.fixture(scope='session')
def detector():
    return with_published_weights('blazeface_front')
