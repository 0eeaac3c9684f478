import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.fuse import reparameterize
from image_classification.mobileformer.reparameterize import OneMatrix


def test_a_network_whose_norms_all_follow_convolutions_has_none_left():
    fused = ic.fuse(ic.create_model('mobileformer_26m'))
    assert not any(isinstance(layer, nn.BatchNorm2D) for layer in fused.sublayers())


def test_fusing_leaves_the_network_as_it_was():
    model = ic.create_model('mobileformer_26m')
    before = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    ic.fuse(model)
    assert model.training and all((before[name] == tensor.numpy()).all() for name, tensor in model.state_dict().items())


def test_feature_maps_are_fused_as_their_network():
    cfg = ic.get_config('mobilenet_v1_x0_25', {'DATA.IMAGE_SIZE': 64})
    maps = ic.create_model(cfg, features_only=True, out_indices=(1, -1))
    fused, x = ic.fuse(maps), paddle.randn([2, 3, 64, 64])
    maps.eval()
    assert fused.strides == maps.strides and not any(isinstance(layer, nn.BatchNorm2D) for layer in fused.sublayers())
    for plain, folded in zip(maps(x), fused(x), strict=True):
        assert ((plain - folded).abs().max() <= 1e-4 * plain.std()).item()


@pytest.mark.parametrize('thing', [nn.Linear(2, 2), nn.Sequential(nn.Conv2D(3, 3, 1)), None, 'mobilenet_v1', {}])
def test_what_is_no_network_of_the_library_is_named(thing):
    with pytest.raises(ic.UserError, match=f'fuse got a {type(thing).__name__}; wanted a network of create_model'):
        ic.fuse(thing)


class Residual(nn.Layer):
    """A norm that a linear layer and a shortcut read."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc = nn.BatchNorm1D(4), nn.Linear(4, 4)
        self.config = ic.get_config(None, {'DATA.IMAGE_SIZE': 2, 'MODEL.IN_CHANNELS': 1})

    def forward(self, x):
        x = self.norm(x.flatten(1))
        return x + self.fc(x)


def test_a_norm_that_others_read_as_well_stays():
    model = Residual()
    model.norm._mean.set_value(paddle.to_tensor([1.0, 2.0, 3.0, 4.0]))
    model.eval()
    fused, x = ic.fuse(model), paddle.randn([3, 1, 2, 2])
    assert isinstance(fused.norm, nn.BatchNorm1D) and paddle.allclose(fused(x), model(x))


def test_a_network_for_export_derives_its_tables_once_and_has_no_dropout():
    model = ic.create_model('mobileformer_26m', drop_rate=0.1)
    model.eval()
    fixed, x = reparameterize(model), paddle.randn([2, 3, 64, 64])
    assert not any(isinstance(layer, nn.Dropout) for layer in fixed.sublayers())
    assert any(isinstance(layer, nn.BatchNorm2D) for layer in fixed.sublayers())
    assert any(isinstance(layer, OneMatrix) for layer in fixed.sublayers())
    expected = model(x)
    assert ((fixed(x) - expected).abs().max() < 1e-4 * expected.std()).item()
    assert ((reparameterize(fixed)(x) - expected).abs().max() < 1e-4 * expected.std()).item()


@pytest.mark.parametrize('name, sizes', [('edgenext_xx_small', (64, 96)), ('efficientvit_m0', (128, 192)),
                                         ('mobilenet_v3_small_x0_5', (32, 64)), ('shufflenet_v2_x0_5', (32, 64))])
def test_in_the_form_for_onnx_a_network_gives_the_same(name, sizes):
    model = ic.create_model(name)
    model.eval()
    with paddle.no_grad():
        for value in model.parameters():                           # a layer scale or gain of nothing would hide what is wrong
            if abs(value).max() < 1e-3:
                value.set_value(paddle.rand(value.shape) * 0.2)
        ready = reparameterize(model, onnx=True)
        assert {type(layer) for layer in ready.sublayers()} - {type(layer) for layer in reparameterize(model).sublayers()}
        for height, width in (sizes, sizes[::-1]):
            x = paddle.randn([2, 3, height, width])
            expected = model(x)
            assert ((ready(x) - expected).abs().max() < 1e-4 * expected.std()).item()
