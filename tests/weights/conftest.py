import paddle
import pytest

import image_classification as ic

NAME = 'mobilenet_v2_x0_35'


@pytest.fixture(scope='module')
def network():
    """A small network whose weights tests publish."""
    paddle.seed(0)
    return ic.create_model(NAME, num_classes=2)
