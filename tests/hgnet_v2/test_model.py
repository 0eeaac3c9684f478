import paddle
import paddle.nn.functional as F
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.hgnet_v2.model import Block, LearnableAffine, Stem
from image_classification.hgnet_v2.reparameterize import mask
from tests.networks import empty, outline, settled

PARAMETERS = {'b0': 5_996_550, 'b1': 6_343_158, 'b2': 11_221_356, 'b3': 16_292_216}                  # of timm's networks


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'hgnet_v2_{variant}')) == PARAMETERS[variant]


@pytest.mark.parametrize('size', [(32, 48), (33, 47)])
def test_the_stem_pads_its_even_kernels_at_the_end_alone(size, float64):
    stem, x = settled(Stem(3, 8, 6)), paddle.randn([1, 3, *size])
    first = stem.stem1(x)
    padded = F.pad(first, [0, 1, 0, 1])
    assert (stem.stem2a.conv(first) == F.conv2d(padded, stem.stem2a.conv.weight)).all()
    assert stem(x).shape == [1, 6, -(-size[0] // 4), -(-size[1] // 4)]


def test_the_pool_of_paddleclas_sees_nothing_beyond_the_border(float64):
    """And timm's sees zeros, which are more than what a negative offset leaves of a map."""
    x, pools = paddle.randn([1, 3, 16, 16]), {}
    for zeros in (True, False):
        paddle.seed(0)
        stem = settled(Stem(3, 8, 6, zeros))
        stem.stem1.lab.bias.set_value(paddle.to_tensor([-9.0]))
        stem.stem3.register_forward_pre_hook(lambda layer, inputs, zeros=zeros: pools.update({zeros: inputs[0][:, :8]}))
        stem(x)
        same = F.max_pool2d(stem.stem1(x), 2, 1, padding='SAME')
        if not zeros:
            assert (pools[False] == same).all() and (same < 0.0).all()
    assert (pools[True][:, :, -1] == 0.0).all()


@pytest.mark.parametrize('zeros', [True, False])
def test_a_phone_gets_the_zeros_beyond_the_border_as_a_constant_map(zeros):
    stem, x = settled(Stem(3, 8, 6, zeros)), paddle.randn([1, 3, 33, 24])
    stem.stem1.lab.bias.set_value(paddle.to_tensor([-9.0]))
    wanted = stem(x)
    mask(stem)
    assert (stem(x) == wanted).all()


def test_weights_come_with_their_design():
    for name in ic.list_models('hgnet_v2_*'):
        for entry in ic.get_config(name).PUBLISHED.WEIGHTS:
            assert entry.get('MODEL', {}).get('DESIGN', 'timm') == entry['STYLE']


def test_each_layer_takes_the_one_before_and_all_are_aggregated(float64):
    block, x = settled(Block(6, 4, 8, 3, 5, light=True, shortcut=False, drop_path=0.0)), paddle.randn([1, 6, 9, 7])
    a = block.layers[0](x)
    b = block.layers[1](a)
    c = block.layers[2](b)
    assert (block(x) == block.aggregation(paddle.concat([x, a, b, c], axis=1))).all()


def test_affines_follow_activations_alone():
    model = outline('hgnet_v2_b0')
    layers = [layer for layer in model.sublayers() if hasattr(layer, 'lab')]
    assert all(isinstance(layer.lab, LearnableAffine) == isinstance(layer.act, paddle.nn.ReLU) for layer in layers)
    assert sum(isinstance(layer, LearnableAffine) for layer in model.sublayers()) == 31


def test_maps_have_a_quarter_of_the_side_and_less():
    model = empty('hgnet_v2_b0', features_only=True)
    assert (model.channels, model.strides) == ((64, 256, 512, 1024), (4, 8, 16, 32))
    assert [m.shape[2:] for m in model(paddle.rand((1, 3, 65, 96)))] == [[17, 24], [9, 12], [5, 6], [3, 3]]
