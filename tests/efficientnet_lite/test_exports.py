"""Engines pad as TensorFlow does, too: by one pixel more behind than in front, or by as many, as the size of each map wants."""
import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy import engines
from image_classification.deploy.export import export_model
from image_classification.deploy.formats.onnx_format import missing
from tests.exports import children_in_process
from tests.networks import settled

SIZES = [(1, 64, 64), (3, 65, 97), (1, 33, 31)]


@pytest.fixture(scope='module')
def network():
    """One block in each stage."""
    return settled(ic.create_model('efficientnet_lite0', width=0.25, depth=0.25, num_classes=5))


@pytest.mark.parametrize('format', ['onnx', pytest.param('paddle', marks=pytest.mark.slow),
                                    pytest.param('openvino', marks=pytest.mark.slow)])
def test_engines_agree_with_the_network_at_odd_and_even_sizes(network, format, tmp_path):
    if missing(format):
        pytest.skip("pip install -e '.[test]'")
    with children_in_process():
        export_model(network, tmp_path / 'lite', format=format, image_size=64)
    ready = engines.open_engine(tmp_path / 'lite')
    for batch, height, width in SIZES:
        image = np.random.default_rng(0).standard_normal((batch, 3, height, width)).astype(np.float32)
        with paddle.no_grad():
            wanted = network(paddle.to_tensor(image)).numpy()
        [found] = ready.run(image)
        assert abs(found - wanted).max() < 1e-4 * wanted.std()
