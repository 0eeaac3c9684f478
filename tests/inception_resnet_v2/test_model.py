import paddle
import pytest

import image_classification as ic
from tests.networks import empty, outline


def small(**overrides):
    return empty('inception_resnet_v2', depths=[1, 1, 1], num_classes=4, **overrides)


def test_has_the_published_number_of_parameters():
    assert sum(p.size for p in outline('inception_resnet_v2').parameters() if not p.stop_gradient) == 55_843_464


def test_299_pixels_give_the_published_map_sizes():
    features = small(features_only=True).eval()
    maps = features(paddle.rand((1, 3, 299, 299)))
    assert [map_.shape[1:] for map_ in maps] == [[64, 147, 147], [192, 71, 71], [320, 35, 35], [1088, 17, 17], [1536, 8, 8]]
    assert (features.channels, features.strides) == ((64, 192, 320, 1088, 1536), (2, 4, 8, 16, 32))


def test_the_whole_of_a_wide_picture_counts():
    model = ic.create_model('inception_resnet_v2', depths=[0, 0, 0], num_classes=4).eval()
    x = paddle.rand((1, 3, 96, 299))
    narrowed = x.clone()
    narrowed[:, :, :, 200:] = 0.0
    assert (model(x) != model(narrowed)).any()


def test_branches_are_scaled_and_the_last_block_is_bare():
    model = outline('inception_resnet_v2')
    stages = [(len(stage), stage[0].scale, stage[0].relu) for stage in (model.repeat, model.repeat_1, model.repeat_2)]
    assert stages == [(10, 0.17, True), (20, 0.1, True), (9, 0.2, True)]
    assert (model.block8.scale, model.block8.relu) == (1.0, False)


def test_drop_path_rises_from_the_first_block_to_the_last():
    with paddle.LazyGuard():
        model = ic.create_model('inception_resnet_v2', drop_path=0.39)
    drops = [block.drop_path.p for block in [*model.repeat, *model.repeat_1, *model.repeat_2, model.block8]]
    assert drops == pytest.approx([0.01 * i for i in range(40)])


def test_a_new_classifier_has_the_wanted_classes():
    model = small(in_chans=1).eval()
    model.reset_classifier(5)
    assert model(paddle.rand((2, 1, 75, 75))).shape == [2, 5]


def test_a_picture_that_is_too_small_is_refused():
    with pytest.raises(ic.UserError, match='at least 75 x 75 pixels, found 74 x 299'):
        small()(paddle.rand((1, 3, 74, 299)))


@pytest.mark.parametrize('keys', [{'depths': [10, 20]}, {'scales': [0.1]}])
def test_lists_of_the_wrong_length_are_refused(keys):
    with pytest.raises(ic.UserError, match='wanted three numbers'):
        ic.create_model('inception_resnet_v2', **keys)
