import paddle
import pytest
from paddle import nn

import image_classification as ic


def settled(name):
    """The network with running statistics and affine parameters that matter."""
    paddle.seed(0)
    model = ic.create_model(name, num_classes=5).eval()
    for layer in model.sublayers():
        if isinstance(layer, (nn.BatchNorm1D, nn.BatchNorm2D)):
            for tensor in (layer.weight, layer.bias, layer._mean):
                tensor.set_value(tensor + 0.1 * paddle.randn(tensor.shape))
            layer._variance.set_value(0.5 + paddle.rand(layer._variance.shape))
    return model


@pytest.mark.parametrize('name', ['mobileformer_26m'])
def test_a_fused_network_agrees_with_the_network_and_has_fewer_norms(name):
    model = settled(name)
    size = model.config.DATA.IMAGE_SIZE
    x = paddle.randn([2, 3, size, size])
    fused = ic.fuse(model)
    with paddle.no_grad():
        plain, folded = model(x), fused(x)
    assert abs(plain - folded).max().item() <= 1e-4 * plain.std().item()
    norms = [sum(isinstance(layer, nn.BatchNorm2D) for layer in m.sublayers()) for m in (model, fused)]
    assert norms[0] > 0 and norms[1] == 0


def test_fusing_leaves_the_network_as_it_was():
    model = ic.create_model('mobileformer_26m')
    before = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    ic.fuse(model)
    assert model.training and all((before[name] == tensor.numpy()).all() for name, tensor in model.state_dict().items())
