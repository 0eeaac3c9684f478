import paddle
import paddle.nn.functional as F
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.mobilevit import MobileViT
from image_classification.mobilevit.model import SeparableAttention, fold, to_even, unfold
from tests.networks import empty, outline, settled

PARAMETERS = {'xxs': 1_272_024, 'xs': 2_317_848, 's': 5_578_632, 'v2_x0_5': 1_370_593, 'v2_x0_75': 2_866_009,
              'v2_x1_0': 4_901_841}                                # of timm's networks
V2 = {'version': 'v2', 'stem': 8, 'channels': (8, 8, 16, 16, 24), 'dims': (8, 8, 16), 'last': 0}     # a narrow one


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_timms_parameters(variant):
    assert count_parameters(outline(f'mobilevit_{variant}')) == PARAMETERS[variant]


def test_a_pixel_meets_those_at_its_place_in_all_patches():
    x = paddle.arange(2 * 3 * 4 * 6, dtype='float32').reshape([2, 3, 4, 6])
    patches = unfold(x)
    assert patches.shape == [2, 3, 4, 6]
    assert (patches[1, 2, 3] == x[1, 2, 1::2, 1::2].flatten()).all() and (patches[0, 1, 1] == x[0, 1, 0::2, 1::2].flatten()).all()
    assert (fold(patches, 4, 6) == x).all()


def test_maps_of_odd_sides_grow_by_a_pixel():
    x = paddle.randn([1, 2, 5, 8])
    assert to_even(x, corners=True).shape == [1, 2, 6, 8]
    even = paddle.randn([1, 2, 6, 8])
    assert to_even(even, corners=True) is even


def test_one_score_for_each_pixel_weights_the_mean_of_the_keys(float64):
    layer, x = SeparableAttention(6), paddle.randn([2, 6, 4, 5])
    scores, keys, values = layer.qkv_proj(x).split([1, 6, 6], axis=1)
    context = paddle.einsum('bopn,bdpn->bdp', F.softmax(scores), keys).unsqueeze(-1)
    assert abs(layer(x) - layer.out_proj(F.relu(values) * context)).max() < 1e-12


def test_the_second_version_learns_and_takes_any_size():
    model = MobileViT(num_classes=3, dropout=0.0, **V2)
    F.cross_entropy(model(paddle.randn([2, 3, 64, 64])), paddle.to_tensor([0, 1])).backward()
    assert all(p.grad is not None for p in model.parameters() if not p.stop_gradient)
    model.eval()
    assert [model(paddle.rand((1, 3, *size))).shape for size in ((32, 32), (33, 50))] == [[1, 3]] * 2


def test_a_narrow_second_version_is_fused():
    keys = {f'mobilevit__{key}': list(value) if isinstance(value, tuple) else value for key, value in V2.items()}
    model = settled(ic.create_model(ic.get_config('mobilevit_v2_x0_5', {
        'DATA.IMAGE_SIZE': 64, **{f'MODEL.{key.upper().replace("__", ".")}': value for key, value in keys.items()}})))
    x = paddle.randn([1, 3, 64, 64])
    with paddle.no_grad():
        plain, fused = model(x), ic.fuse(model)(x)
    assert abs(plain - fused).max() < 1e-4 * plain.std()


@pytest.mark.parametrize('name, last', [('xxs', 320), ('v2_x0_5', 256)])
def test_the_last_map_is_behind_the_last_convolution(name, last):
    model = empty(f'mobilevit_{name}', features_only=True)
    assert model.strides == (2, 4, 8, 16, 32) and model.channels[-1] == last
    maps = model(paddle.rand((1, 3, 64, 128)))
    assert [m.shape for m in maps] == [[1, c, 64 // s, 128 // s] for c, s in zip(model.channels, model.strides)]
