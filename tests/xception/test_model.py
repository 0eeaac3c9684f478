import paddle
import pytest

import image_classification as ic
from image_classification.xception.model import Block
from tests.networks import empty


def test_the_shortcut_sees_the_input_before_rectification():
    block = Block((8, 8, 8)).eval()
    bn = block.rep[-1]
    bn.weight.set_value(paddle.zeros_like(bn.weight))              # what remains is the shortcut
    x = paddle.randn((1, 8, 4, 4))
    assert (block(x) == x).all()


def test_maps_are_rectified_and_have_the_sizes_of_the_paper():
    model = ic.create_model(ic.get_config('xception', {'MODEL.XCEPTION.MIDDLE_BLOCKS': 1}), features_only=True).eval()
    with paddle.no_grad():
        maps = model(paddle.rand((1, 3, 299, 299)))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 147, 147), (128, 74, 74), (256, 37, 37), (728, 19, 19), (2048, 10, 10)]
    assert all((m >= 0).all() for m in maps)


def test_takes_images_from_seven_pixels_up():
    model = empty('xception', num_classes=2)
    assert model(paddle.rand((1, 3, 7, 9))).shape == [1, 2]
    with pytest.raises(ic.UserError, match='Xception takes images of at least 7 x 7 pixels, found 6 x 9'):
        model(paddle.rand((1, 3, 6, 9)))


def test_a_middle_flow_of_another_length_keeps_the_rest():
    short = ic.create_model(ic.get_config('xception', {'MODEL.XCEPTION.MIDDLE_BLOCKS': 0}), features_only=True)
    assert short.channels == (64, 128, 256, 728, 2048)
    assert [tuple(m.shape[2:]) for m in short(paddle.rand((1, 3, 71, 71)))] == [(33, 33), (17, 17), (9, 9), (5, 5), (3, 3)]
    with pytest.raises(ic.UserError, match='MIDDLE_BLOCKS is -1'):
        ic.create_model(ic.get_config('xception', {'MODEL.XCEPTION.MIDDLE_BLOCKS': -1}))


def test_drop_path_grows_from_block_to_block():
    with paddle.LazyGuard():
        model = ic.create_model('xception', drop_path_rate=0.22, drop_rate=0.5)
    rates = [getattr(model, f'block{i}').drop_path.p for i in range(1, 13)]
    assert rates == pytest.approx([0.02 * i for i in range(12)])
    assert model.dropout.p == 0.5
