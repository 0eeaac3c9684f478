"""Paddle's own tools find our layers, and `paddle.Model` trains networks with auxiliary heads."""
import warnings

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.quantization import QAT, QuantConfig
from paddle.quantization.quanters import FakeQuanterWithAbsMaxObserver

import image_classification as ic
from image_classification.integrations.paddle_model import AuxiliaryLoss
from tests.networks import outline, shallow

SIDE = 32


@pytest.mark.parametrize('name', ['mobilenet_v2_x0_35', 'mobileformer_26m', 'efficientvit_m0', 'blazeface', 'inception_v3'])
def test_convolutions_are_of_the_exact_type_that_paddle_looks_up(name):
    found = {type(layer) for layer in outline(name).sublayers() if isinstance(layer, nn.Conv2D)}
    assert found == {nn.Conv2D}


def test_the_sum_of_paddles_flops_is_that_of_the_paper(monkeypatch):
    from paddle.hapi import dynamic_flops
    counted = []

    def count(layer, inputs, output):
        counted.append(output.size * inputs[0].shape[1] // layer._groups * int(np.prod(layer.weight.shape[2:])))
    monkeypatch.setitem(dynamic_flops.register_hooks, nn.Conv2D, count)
    try:
        paddle.flops(ic.create_model('mobilenet_v2_x0_35'), [1, 3, 224, 224])
    except TypeError as error:                                     # Paddle 3.3's table fails with NumPy 2.4, behind the count
        assert '0-dim' in str(error)
    assert sum(counted) == pytest.approx(59e6, rel=0.02)           # 59 M, 1.6 M of it in the classifier


def test_quantization_aware_training_finds_all_convolutions():
    quanter = FakeQuanterWithAbsMaxObserver(moving_rate=0.9)
    model = QAT(QuantConfig(activation=quanter, weight=quanter)).quantize(ic.create_model('mobilenet_v2_x0_35', num_classes=4))
    layers = [type(layer).__name__ for layer in model.sublayers()]
    assert layers.count('QuantedConv2D') == 52 and layers.count('Conv2D') == 0
    model(paddle.randn([2, 3, SIDE, SIDE])).sum().backward()


def test_quantized_weights_are_used_where_norms_take_over_biases():
    quanter = FakeQuanterWithAbsMaxObserver(moving_rate=0.9)
    model = shallow('mobileformer_26m')
    quantized = QAT(QuantConfig(activation=quanter, weight=quanter)).quantize(model)
    seen = []
    for layer in quantized.sublayers():
        if type(layer).__name__ == 'QuantedConv2D':
            layer.weight_quanter.register_forward_post_hook(lambda *_: seen.append(1))
    quantized(paddle.randn([2, 3, 64, 64]))
    assert len(seen) == sum(isinstance(layer, nn.Conv2D) for layer in model.sublayers())


def test_learnt_tokens_are_found_behind_what_observes_them():
    keys = {'MODEL.BLOCK.CHANNELS': [8, 8], 'MODEL.BLOCK.STRIDES': [2, 2], 'MODEL.BLOCK.EXPANSIONS': [3, 3],
            'MODEL.TOKENS': [2, 16], 'MODEL.HIDDEN_FEATURES': 16, 'MODEL.NUM_CLASSES': 3}
    quanter = FakeQuanterWithAbsMaxObserver(moving_rate=0.9)
    model = ic.create_model(ic.get_config('mobileformer_official_26m', keys))
    QAT(QuantConfig(activation=quanter, weight=quanter)).quantize(model, inplace=True)
    model(paddle.randn([2, 3, SIDE, SIDE]))[:, 0].sum().backward()
    tokens = next(weight for name, weight in model.named_parameters() if weight.shape == [2, 16])
    assert abs(tokens.grad).max().item() > 0


@pytest.mark.parametrize('name', ['efficientvit_m0', 'shufflenet_v1_g3_x0_5', 'mobilenet_v2_x0_35'])
def test_all_batch_norms_can_be_synchronized(name):
    with paddle.LazyGuard():
        model = ic.create_model(name)
    norms = sum(isinstance(layer, (nn.BatchNorm1D, nn.BatchNorm2D)) for layer in model.sublayers())
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert sum(isinstance(layer, nn.SyncBatchNorm) for layer in model.sublayers()) == norms > 0


@pytest.fixture(scope='module')
def network():
    return ic.create_model(ic.get_config('uniformer_xxs', {'MODEL.UNIFORMER.DEPTHS': [1, 1, 2, 1], 'MODEL.NUM_CLASSES': 3}))


DATA = (np.random.default_rng(0).standard_normal((4, 3, 64, 64), np.float32), np.array([[0], [1], [2], [0]]))


def prepared(network, loss, *metrics):
    model = paddle.Model(network)
    model.prepare(paddle.optimizer.SGD(0.0, parameters=network.parameters()), loss, *metrics)
    return model


def test_paddle_model_fits_with_a_plain_loss_and_says_what_is_left_out(network):
    network.keeps_auxiliary = False
    data = paddle.io.TensorDataset(list(map(paddle.to_tensor, DATA)))
    with pytest.warns(UserWarning, match='without its auxiliary heads.*AuxiliaryLoss'):
        prepared(network, nn.CrossEntropyLoss(), paddle.metric.Accuracy()).fit(data, data, batch_size=4, verbose=0)
    assert network.head_cls.weight.grad is None


def test_paddle_model_takes_the_losses_of_auxiliary_heads(network):
    model = prepared(network, AuxiliaryLoss(network, weight=0.5), paddle.metric.Accuracy())
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        warnings.filterwarnings('ignore', message='When training, we now always track')
        [[loss], _] = model.train_batch(*([part] for part in DATA))
    paddle.seed(0)
    logits, auxiliary = network(paddle.to_tensor(DATA[0]))         # who calls it directly gets both
    labels, entropy = paddle.to_tensor(DATA[1]), nn.CrossEntropyLoss()
    assert loss == pytest.approx((entropy(logits, labels) + 0.5 * entropy(auxiliary, labels)).item(), rel=1e-4)
    assert AuxiliaryLoss(network).weight == network.config.TRAIN.AUX_LOSS_WEIGHT == 0.3


def test_a_loss_of_all_outputs_gets_them(network):
    seen = []

    def loss(logits, auxiliary, labels):
        seen.append((logits.shape, auxiliary.shape))
        return (logits.mean() + auxiliary.mean()) * labels.astype('float32').mean()
    prepared(network, loss).train_batch(*([part] for part in DATA))
    assert seen == [([4, 3], [4, 3])]
