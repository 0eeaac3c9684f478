import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import image_classification as ic
from image_classification.inception_v3.model import InceptionAux, average
from image_classification.layers import FeatureExtractor
from tests.networks import empty, outline


def trainable(model):
    return {name: p for name, p in model.named_parameters() if not p.stop_gradient}


def test_the_auxiliary_head_holds_3_3_of_27_million_parameters():
    assert sum(p.size for p in trainable(outline('inception_v3')).values()) == 27_161_264
    with paddle.LazyGuard():
        bare = ic.create_model('inception_v3', aux_logits=False)
    assert sum(p.size for p in trainable(bare).values()) == 23_834_568


def test_auxiliary_logits_are_given_in_training_only_also_below_299_pixels():
    model = empty('inception_v3', num_classes=4)
    x = paddle.rand((2, 3, 75, 96))
    assert [out.shape for out in model.train()(x)] == [[2, 4], [2, 4]]
    assert model.eval()(x).shape == [2, 4]


def test_the_auxiliary_head_sees_maps_of_17_pixels_and_more_as_they_are():
    head = InceptionAux(8, 3).eval()
    x = paddle.rand((2, 8, 17, 20))
    plain = head.fc(F.adaptive_avg_pool2d(head.conv1(head.conv0(F.avg_pool2d(x, 5, 3))), 1).flatten(1))
    np.testing.assert_array_equal(head(x), plain)


def test_average_pools_count_the_padding():
    assert average(paddle.ones((1, 1, 3, 3)))[0, 0, 0, 0].item() == pytest.approx(4 / 9)


def test_a_new_number_of_classes_reaches_both_heads():
    model = empty('inception_v3').train()
    model.reset_classifier(5)
    assert [out.shape for out in model(paddle.rand((2, 3, 75, 75)))] == [[2, 5]] * 2
    replaced = [name for name in trainable(model) if name.startswith(model.classifier_layers)]
    assert len(replaced) == 4 and all(trainable(model)[name].shape[-1] == 5 for name in replaced)


def test_299_pixels_give_the_papers_map_sizes():
    maps = FeatureExtractor(empty('inception_v3'))(paddle.rand((1, 3, 299, 299)))
    assert [map_.shape[1:] for map_ in maps] == [[64, 147, 147], [192, 71, 71], [288, 35, 35], [768, 17, 17], [2048, 8, 8]]


def test_a_picture_that_is_too_small_is_refused():
    with pytest.raises(ic.UserError, match='at least 75 x 75 pixels, found 299 x 74'):
        empty('inception_v3')(paddle.rand((1, 3, 299, 74)))
