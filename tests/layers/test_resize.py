import paddle
import paddle.nn.functional as F
import pytest

from image_classification.layers import resize_bilinear


@pytest.mark.parametrize('corners', [True, False])
@pytest.mark.parametrize('before, after', [((7, 5), (8, 6)), ((8, 6), (7, 5)), ((1, 4), (2, 4))])
def test_resizes_as_paddle_does(before, after, corners):
    x = paddle.randn([2, 3, *before])
    wanted = F.interpolate(x, after, mode='bilinear', align_corners=corners)
    assert abs(resize_bilinear(x, after, corners) - wanted).max() < 1e-5


def test_a_straight_line_stays_straight_in_float64(float64):
    x = paddle.linspace(0.0, 1.0, 7).reshape([1, 1, 1, 7]).expand([1, 1, 3, 7])
    wanted = paddle.linspace(0.0, 1.0, 8)
    assert abs(resize_bilinear(x, (4, 8), corners=True) - wanted).max() < 1e-15
