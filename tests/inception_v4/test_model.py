import paddle
import pytest

import image_classification as ic
from tests.networks import empty, outline


def small(**overrides):
    return empty('inception_v4', depths=[1, 1, 1], num_classes=4, **overrides)


def test_has_the_published_number_of_parameters():
    assert sum(p.size for p in outline('inception_v4').parameters() if not p.stop_gradient) == 42_679_816


def test_299_pixels_give_the_papers_map_sizes():
    features = small(features_only=True)
    maps = features(paddle.rand((1, 3, 299, 299)))
    assert [map_.shape[1:] for map_ in maps] == [[64, 147, 147], [192, 71, 71], [384, 35, 35], [1024, 17, 17], [1536, 8, 8]]
    assert (features.channels, features.strides) == ((64, 192, 384, 1024, 1536), (2, 4, 8, 16, 32))


def test_maps_are_the_last_at_each_stride_for_other_depths_too():
    features = empty('inception_v4', depths=[2, 1, 0], features_only=True)
    assert [map_.shape[1] for map_ in features(paddle.rand((1, 3, 75, 75)))] == list(features.channels)


def test_average_pools_leave_the_padding_out():
    pool = small().features[6].branch3[0]
    assert pool(paddle.ones((1, 1, 3, 3))).min().item() == 1.0


def test_a_new_classifier_has_the_wanted_classes():
    model = small(in_chans=1).eval()
    model.reset_classifier(5)
    assert model(paddle.rand((2, 1, 75, 75))).shape == [2, 5]


def test_a_picture_that_is_too_small_is_refused():
    with pytest.raises(ic.UserError, match='at least 75 x 75 pixels, found 74 x 299'):
        small()(paddle.rand((1, 3, 74, 299)))


def test_wrong_depths_are_refused():
    with pytest.raises(ic.UserError, match='DEPTHS is .4, 7.; wanted three'):
        ic.create_model('inception_v4', depths=[4, 7])
