import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.layers import DropPath, FeatureExtractor


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    paddle.seed(0)
    y = DropPath(0.25)(paddle.ones((4000, 2, 3)))
    np.testing.assert_allclose(np.unique(y.numpy()), [0.0, 1 / 0.75], rtol=1e-6)
    assert (y == y[:, :1, :1]).all() and y.mean().item() == pytest.approx(1.0, abs=0.05)


def test_drop_path_is_the_identity_in_evaluation():
    layer = DropPath(0.9)
    layer.eval()
    assert (layer(paddle.ones((8, 2))) == 1).all()


def test_feature_maps_have_the_announced_channels_and_strides():
    model = ic.create_model('mobileformer_26m', features_only=True, out_indices=(1, 2, -1)).eval()
    maps = model(paddle.rand((2, 3, 64, 96)))
    assert model.channels == (12, 24, 96) and model.strides == (4, 8, 32)
    assert [tuple(m.shape) for m in maps] == [(2, c, 64 // s, 96 // s) for c, s in zip(model.channels, model.strides)]


@pytest.mark.parametrize('indices', [(5,), (-6,), ()])
def test_levels_that_do_not_exist_are_refused(indices):
    with pytest.raises(ic.UserError, match='out_indices'):
        FeatureExtractor(ic.create_model('mobileformer_26m'), indices)
