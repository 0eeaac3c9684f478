import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs
from tests.networks import empty, outline


def small(**overrides):
    return empty('inception_v2', depths=[1, 1, 1], num_classes=4, **overrides)


def test_costs_about_two_and_a_half_googlenets():
    assert count_macs(empty('inception_v2'), 299) / 1_498_376_192 == pytest.approx(2.5, abs=0.1)


def test_299_pixels_give_the_map_sizes_of_the_papers_table():
    model = empty('inception_v2')
    wanted = [('Conv2d_1a_3x3', [32, 149, 149]), ('Conv2d_2a_3x3', [32, 147, 147]), ('Conv2d_2b_3x3', [64, 147, 147]),
              ('maxpool', [64, 73, 73]), ('Conv2d_3a_3x3', [80, 71, 71]), ('Conv2d_4a_3x3', [192, 35, 35]),
              ('Conv2d_4b_3x3', [288, 35, 35]), ('Mixed_5', [288, 35, 35]), ('Reduction_6', [768, 17, 17]),
              ('Mixed_6', [768, 17, 17]), ('Reduction_7', [1280, 8, 8]), ('Mixed_7', [2048, 8, 8])]
    found = []
    for name, _ in wanted:
        getattr(model, name).register_forward_post_hook(
            lambda layer, inputs, out, name=name: found.append((name, out.shape[1:])))
    model(paddle.rand((1, 3, 299, 299)))
    assert found == wanted
    assert [len(stage) for stage in (model.Mixed_5, model.Mixed_6, model.Mixed_7)] == [3, 5, 2]


def test_its_only_large_kernels_are_1_by_7_and_7_by_1():
    kernels = {tuple(p.shape[2:]) for p in outline('inception_v2').parameters() if p.ndim == 4}
    assert kernels == {(1, 1), (3, 3), (1, 7), (7, 1), (1, 3), (3, 1)}


def test_feature_maps_have_the_promised_channels():
    features = small(features_only=True, in_chans=1).eval()
    assert [map_.shape[1] for map_ in features(paddle.rand((1, 1, 75, 96)))] == list(features.channels)


def test_a_new_classifier_has_the_wanted_classes():
    model = small().eval()
    model.reset_classifier(5)
    assert model(paddle.rand((2, 3, 75, 75))).shape == [2, 5]


def test_a_picture_that_is_too_small_is_refused():
    with pytest.raises(ic.UserError, match='at least 75 x 75 pixels, found 74 x 299'):
        small()(paddle.rand((1, 3, 74, 299)))


@pytest.mark.parametrize('depths', [[3, 5], [3, 5, 0]])
def test_wrong_depths_are_refused(depths):
    with pytest.raises(ic.UserError, match='wanted three numbers'):
        ic.create_model('inception_v2', depths=depths)
