import paddle
import paddle.nn.functional as F
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.fuse import reparameterize
from image_classification.mobilenet_v4 import MobileNetV4
from image_classification.mobilenet_v4.model import LayerScale, MultiQueryAttention, UniversalBottleneck
from tests.networks import empty, outline, settled

PARAMETERS = {'conv_small_035': 1_905_384, 'conv_small_050': 2_238_952, 'conv_small': 3_774_024, 'conv_medium': 9_715_512,
              'conv_large': 32_590_864, 'hybrid_medium': 11_074_648, 'hybrid_large': 37_764_624}     # of timm's networks


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_timms_parameters(variant):
    assert count_parameters(outline(f'mobilenet_v4_{variant}')) == PARAMETERS[variant]


def test_maps_are_those_of_the_stem_and_of_the_last_stage_at_each_stride():
    model = empty('mobilenet_v4_conv_small_035', features_only=True)
    assert (model.channels, model.strides) == ((32, 16, 24, 32, 336), (2, 4, 8, 16, 32))
    assert [m.shape[2:] for m in model(paddle.rand((1, 3, 65, 96)))] == [[33, 48], [17, 24], [9, 12], [5, 6], [3, 3]]


@pytest.mark.parametrize('kernels, depthwise', [((0, 0), []), ((3, 0), [2]), ((0, 5), [2]), ((5, 3), [1, 2])])
def test_the_stride_is_that_of_the_last_depthwise_convolution_in_front_of_the_projection(kernels, depthwise):
    block = UniversalBottleneck(16, 24, kernels, 2, 2 if any(kernels) else 1, 'relu', False, 0.0)
    strides = [layer._stride[0] for layer in block.sublayers() if getattr(layer, '_groups', 1) > 1]
    assert strides == depthwise


@pytest.mark.parametrize('stride', [1, 2])
def test_heads_of_queries_share_one_set_of_keys_and_values(stride, float64):
    layer, x = settled(MultiQueryAttention(12, heads=3, dim=4, stride=stride)), paddle.randn([2, 12, 5, 6])
    query = layer.query(x).reshape([2, 3, 4, 30])
    key, value = (part(x).flatten(2) for part in (layer.key, layer.value))
    assert key.shape == [2, 4, 30 if stride == 1 else 9]
    scores = paddle.einsum('bhdn,bdm->bhnm', query, key) / 4 ** 0.5
    read = paddle.einsum('bhnm,bdm->bhdn', F.softmax(scores), value).reshape([2, 12, 5, 6])
    assert abs(layer(x) - layer.output(read)).max() < 1e-12


def test_the_hybrids_scale_each_branch_and_learn():
    """The narrowest one, whose blocks are all of a hybrid's kinds."""
    model = MobileNetV4(num_classes=3, arch='hybrid_medium', width=0.1, dropout=0.0)
    scales = [name for name, _ in model.named_parameters() if name.endswith('layer_scale.gamma')]
    assert len(scales) == sum(hasattr(block, 'layer_scale') for stage in model.blocks for block in stage) == 2 + 12 + 16
    F.cross_entropy(model(paddle.randn([2, 3, 64, 64])), paddle.to_tensor([0, 1])).backward()
    assert all(p.grad is not None for p in model.parameters() if not p.stop_gradient)


def test_an_exports_hybrid_has_its_factors_in_its_weights(float64):
    model = ic.create_model('mobilenet_v4_hybrid_medium', width=0.1, num_classes=3)
    for layer in model.sublayers():
        if isinstance(layer, LayerScale):
            layer.gamma.set_value(0.3 + paddle.rand(layer.gamma.shape))
    model, x = settled(model), paddle.randn([1, 3, 64, 64])
    found = reparameterize(model)
    assert not any(isinstance(layer, LayerScale) for layer in found.sublayers())
    with paddle.no_grad():
        assert abs(model(x) - found(x)).max() < 1e-10 * model(x).std()


def test_stochastic_depth_grows_and_spares_blocks_without_shortcut():
    with paddle.LazyGuard():
        blocks = [block for stage in MobileNetV4(drop_path=0.18).blocks for block in stage]
    rates = {i: block.drop_path.p for i, block in enumerate(blocks) if hasattr(block, 'drop_path') and block.drop_path.p}
    assert list(rates) == [5, 6, 7, 8, 9, 11, 12, 13, 14, 15] and rates[15] == pytest.approx(0.18 * 15 / 16)


def test_an_unknown_architecture_is_named_with_the_known_ones():
    with pytest.raises(ic.UserError, match="ARCH is 'small'; wanted one of: conv_small, .*hybrid_large"):
        ic.create_model('mobilenet_v4_conv_small', arch='small')
