import functools
import math

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.config import model_yamls
from image_classification.engine.layer_decay import rate_ratios
from image_classification.engine.optim import build_optimizer

FAMILIES = sorted({path.parent.name: name for name, path in model_yamls().items()}.values())  # one network of each
# A plain stack, down-samplings apart, attention in windows, tokens, auxiliary heads.
KINDS = ['mobilenet_v1_x0_25', 'edgenext_xx_small', 'efficientvit_m0', 'mobileformer_26m', 'googlenet']


@functools.lru_cache
def ratios(name):
    """{parameter: steps of the rate between it and the classifier}, names of all parameters."""
    model = ic.create_model(name)
    found = rate_ratios(model, 0.5, model.config.DATA.IMAGE_SIZE)
    return ({parameter: round(math.log2(1 / ratio)) for parameter, ratio in found.items()},
            {parameter for parameter, _ in model.named_parameters()})


def test_stem_blocks_and_classifier_are_one_step_apart_each():
    depths, _ = ratios('mobilenet_v3_small_x1_0')
    assert {depths[f'features.{i}.{rest}'] for i, rest in ((0, '0.weight'), (0, '1.weight'), (0, '1.bias'))} == {14}
    assert [depths['features.1.block.0.0.weight'], depths['features.11.block.3.0.weight'], depths['features.12.0.weight']] == [
        13, 3, 2]
    assert depths['classifier.0.weight'] == 1 and depths['classifier.3.weight'] == depths['classifier.3.bias'] == 0


def test_down_samplings_that_are_registered_first_have_the_depth_where_they_run():
    depths, _ = ratios('edgenext_xx_small')
    assert depths['stages.0.0.dwconv.weight'] > depths['downsample_layers.1.0.weight'] > depths['stages.1.0.dwconv.weight']


def test_tokens_belong_to_the_first_block_and_weights_without_a_call_to_their_place():
    depths, _ = ratios('mobileformer_26m')
    assert depths['tokens'] == depths['stem.conv.weight'] == max(depths.values())
    assert depths['channel_conv.0.conv.weight'] == 1


@pytest.mark.parametrize('name, head', [('googlenet', 'aux1'), ('inception_v3', 'AuxLogits')])
def test_auxiliary_heads_learn_at_the_full_rate(name, head):
    depths, _ = ratios(name)
    assert {depth for parameter, depth in depths.items() if parameter.startswith((f'{head}.', 'fc.'))} == {0}


@pytest.mark.parametrize('name', [*KINDS, *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES)])
def test_there_is_a_depth_for_every_parameter_without_a_gap(name):
    """Of all families: python -m pytest -m slow tests/engine/test_layer_decay.py"""
    depths, parameters = ratios(name)
    assert set(depths) == parameters
    assert set(depths.values()) == set(range(max(depths.values()) + 1)) and max(depths.values()) >= 10


@pytest.mark.parametrize('optimizer', ['AdamW', 'SGD', 'RMSprop'])
def test_a_step_is_as_large_as_its_share_of_the_rate(optimizer):
    """The same gradients with and without layer-wise decay: every step's ratio is the block's."""
    moved = {}
    for decay in (1.0, 0.5):
        cfg = ic.get_config('mobilenet_v1_x0_25', {'TRAIN.LAYER_DECAY': decay, 'TRAIN.OPTIMIZER.NAME': optimizer,
                                                   'DATA.IMAGE_SIZE': 32, 'TRAIN.WEIGHT_DECAY': 0.3})
        paddle.seed(0)
        model = ic.create_model(cfg)
        opt = build_optimizer(cfg, model)
        opt.set_lr(0.1)
        model.eval()
        parameters = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
        before = {name: p.numpy().copy() for name, p in parameters.items()}
        for p in parameters.values():
            p.grad = paddle.ones_like(p)
        opt.step()
        moved[decay] = {name: p.numpy() - before[name] for name, p in parameters.items()}
    for name, exponent in (('classifier.weight', 0), ('blocks.4.1.conv_dw.weight', 1), ('conv_stem.weight', 14),
                           ('bn1.bias', 14)):
        np.testing.assert_allclose(moved[0.5][name], moved[1.0][name] * 0.5 ** exponent, rtol=1e-2, atol=2e-8)


def test_looking_for_the_order_leaves_the_network_as_it_was():
    model = ic.create_model('mobilenet_v1_x0_25')
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    rate_ratios(model, 0.5, 32)
    assert model.training
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
