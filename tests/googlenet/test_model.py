import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.layers import FeatureExtractor
from tests.networks import empty, outline


def trainable(model):
    return {name: p for name, p in model.named_parameters() if not p.stop_gradient}


def test_the_auxiliary_heads_hold_6_4_of_13_million_parameters():
    assert sum(p.size for p in trainable(outline('googlenet')).values()) == 13_004_888
    with paddle.LazyGuard():
        bare = ic.create_model('googlenet', aux_logits=False)
    assert sum(p.size for p in trainable(bare).values()) == 6_624_904


def test_auxiliary_logits_are_given_in_training_only():
    model = ic.create_model('googlenet', num_classes=4)
    x = paddle.rand((2, 3, 64, 64))
    assert [out.shape for out in model.train()(x)] == [[2, 4], [2, 4], [2, 4]]
    assert model.eval()(x).shape == [2, 4]
    assert ic.create_model('googlenet', num_classes=4, aux_logits=False).train()(x).shape == [2, 4]


def test_a_new_number_of_classes_reaches_all_three_heads():
    model = ic.create_model('googlenet')
    model.reset_classifier(5)
    assert [out.shape for out in model(paddle.rand((2, 3, 64, 64)))] == [[2, 5]] * 3
    replaced = [name for name in trainable(model) if name.startswith(model.classifier_layers)]
    assert len(replaced) == 6 and all(trainable(model)[name].shape[-1] == 5 for name in replaced)


@pytest.mark.parametrize('size', [(15, 15), (33, 50), (96, 64)])
def test_maps_have_the_promised_channels_and_about_the_promised_strides(size):
    model = FeatureExtractor(empty('googlenet'))
    maps = model(paddle.rand((1, 3, *size)))
    for map_, channels, stride in zip(maps, model.channels, model.strides):
        assert map_.shape[1] == channels
        for side, length in zip(map_.shape[2:], size):
            assert max(length // stride, 1) <= side <= -(-length // stride)


def test_a_picture_that_is_too_small_is_refused():
    with pytest.raises(ic.UserError, match='at least 15 x 15 pixels, found 14 x 64'):
        empty('googlenet')(paddle.rand((1, 3, 14, 64)))


def test_dropout_acts_in_front_of_all_three_classifiers():
    model = ic.create_model('googlenet', drop_rate=0.5, dropout_aux=0.25)
    assert (model.dropout.p, model.aux1.dropout.p, model.aux2.dropout.p) == (0.5, 0.25, 0.25)
    x = paddle.rand((2, 3, 64, 64))
    model.eval()
    np.testing.assert_array_equal(model(x), model(x))
