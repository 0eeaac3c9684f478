import paddle
import paddle.nn.functional as F
import pytest

from image_classification.deploy.complexity import count_parameters
from image_classification.efficientvit_mit import EfficientViT
from image_classification.efficientvit_mit.model import EPSILON, LinearAttention
from tests.networks import empty, outline

PARAMETERS = {'b0': 3_410_008, 'b1': 9_102_024, 'b2': 24_330_712, 'b3': 48_646_056}                  # of timm's networks


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_timms_parameters(variant):
    assert count_parameters(outline(f'efficientvit_mit_{variant}')) == PARAMETERS[variant]


def test_attention_weights_the_values_of_all_pixels_by_products_of_queries_and_keys(float64):
    layer, x = LinearAttention(12, 4).eval(), paddle.randn([2, 12, 5, 3])
    qkv = layer.qkv(x)
    both = paddle.concat([qkv, layer.aggreg[0](qkv)], axis=1).reshape([2, 6, 12, 15])
    query, key, value = F.relu(both[:, :, :4]), F.relu(both[:, :, 4:8]), both[:, :, 8:]
    weights = paddle.einsum('bhdn,bhdm->bhnm', query, key)         # as softmax attention would have them, pixel by pixel
    weights = weights / (weights.sum(-1, keepdim=True) + EPSILON)
    read = paddle.einsum('bhnm,bhdm->bhdn', weights, value).reshape([2, 24, 5, 3])
    assert abs(layer(x) - layer.proj(read)).max() < 1e-12


def test_pixels_that_attend_to_none_read_nothing():
    layer = LinearAttention(8, 4).eval()
    layer.qkv.conv.weight.set_value(paddle.zeros(layer.qkv.conv.weight.shape))
    assert paddle.isfinite(layer(paddle.randn([1, 8, 4, 4]))).all()


def test_expansions_of_the_last_two_stages_have_a_bias_in_place_of_a_norm():
    for i, stage in enumerate(outline('efficientvit_mit_b0').stages):
        biased = [layer.inverted_conv.conv.bias is not None for layer in stage.sublayers() if hasattr(layer, 'inverted_conv')]
        assert biased == [i >= 2] * len(biased) and biased


def test_maps_have_a_quarter_of_the_side_and_less():
    model = empty('efficientvit_mit_b0', features_only=True)
    assert (model.channels, model.strides) == ((16, 32, 64, 128), (4, 8, 16, 32))
    assert [m.shape[2:] for m in model(paddle.rand((1, 3, 65, 96)))] == [[17, 24], [9, 12], [5, 6], [3, 3]]


def test_stochastic_depth_grows_over_the_residual_branches():
    with paddle.LazyGuard():
        model = EfficientViT(num_classes=2, drop_path=0.09)
    rates = [layer.drop_path.p for layer in model.sublayers() if hasattr(layer, 'drop_path')]
    assert rates[0] == 0.0 and max(rates) == rates[-1] == pytest.approx(0.09)
