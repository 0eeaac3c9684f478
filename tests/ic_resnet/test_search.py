import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.ic_resnet import dilation_pattern, inherit_weights, read_pattern, search_dilations, write_pattern
from image_classification.ic_resnet.patterns import load_pattern
from image_classification.ic_resnet.search import kept_magnitudes
from image_classification.models import build_model
from image_classification.weights import load_state

PLANTED = [(2, 1), (1, 1), (3, 2), (2, 1), (1, 3)]                 # of five output channels


def kernels(dilations, reach, noise=0.0, inputs=4, seed=0):
    """(len(dilations), inputs, 2 * reach + 1, 2 * reach + 1): weights of size 1 on the nine taps, noise on all."""
    rng = np.random.default_rng(seed)
    weight = noise * rng.standard_normal((len(dilations), inputs, 2 * reach + 1, 2 * reach + 1))
    for channel, (h, w) in zip(weight, dilations):
        channel[:, reach - h::h, reach - w::w][:, :3, :3] += rng.choice([-1.0, 1.0], (inputs, 3, 3))
    return weight


def supernet(dilation=2, **overrides):
    """An IC-ResNet of one bottleneck per stage with (2 * dilation + 1)-square kernels, and norms that matter."""
    paddle.seed(0)
    model = ic.create_model(ic.get_config('ic_resnet50', {
        'MODEL.IC.DEPTHS': [1, 1, 1, 1], 'MODEL.IC.SUPERNET_DILATION': dilation, 'MODEL.NUM_CLASSES': 3, **overrides}))
    for layer in model.sublayers():
        if isinstance(layer, paddle.nn.BatchNorm2D):
            for values in (layer._mean, layer._variance, layer.weight, layer.bias):
                values.set_value(0.5 + 0.1 * paddle.rand(values.shape))
    return model.eval()


def arrays(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize('noise', [0.0, 0.1])
def test_planted_dilations_are_found(noise):
    branches, order = dilation_pattern(kernels(PLANTED, 4, noise))
    assert branches == [(1, 1, 1), (1, 3, 1), (2, 1, 2), (3, 2, 1)]
    assert order.tolist() == [1, 4, 0, 3, 2]


def test_the_error_of_a_dilation_is_the_l1_distance_of_all_weights_from_those_kept():
    weight = np.random.default_rng(0).standard_normal((2, 3, 7, 7))
    kept = kept_magnitudes(weight)
    for h in (1, 2, 3):
        for w in (1, 2, 3):
            zeroed = np.zeros_like(weight)
            for i in (3 - h, 3, 3 + h):
                for j in (3 - w, 3, 3 + w):
                    zeroed[:, :, i, j] = weight[:, :, i, j]
            error = np.abs(weight - zeroed).sum((1, 2, 3))
            assert np.abs(weight).sum((1, 2, 3)) - kept[:, h - 1, w - 1] == pytest.approx(error)


def test_a_tie_goes_to_the_smaller_dilation_in_h_then_in_w():
    everywhere, corners = np.ones((1, 2, 7, 7)), np.zeros((1, 2, 7, 7))
    corners[:, :, 3, 0] = corners[:, :, 0, 3] = 1.0                # (3, 1), (3, 2) keep one; (1, 3), (2, 3), too; (3, 3) both
    assert dilation_pattern(everywhere)[0] == dilation_pattern(0 * everywhere)[0] == [(1, 1, 1)]
    assert dilation_pattern(corners)[0] == [(3, 3, 1)]
    assert dilation_pattern(corners, max_dilation=2)[0] == [(1, 1, 1)]
    corners[:, :, 0, 3] = 0.0
    assert dilation_pattern(corners)[0] == [(1, 3, 1)]


def test_a_smaller_search_chooses_the_best_of_the_smaller_dilations():
    branches, order = dilation_pattern(paddle.to_tensor(kernels([(3, 3), (2, 1)], 3, 0.01)), max_dilation=2)
    assert max(max(h, w) for h, w, _ in branches) <= 2 and (2, 1, 1) in branches


@pytest.mark.parametrize('shape', [(4, 4, 9, 7), (4, 4, 8, 8), (4, 4, 1, 1), (4, 9, 9), (0, 4, 9, 9)])
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(ic.UserError, match='wanted'):
        dilation_pattern(np.ones(shape))


@pytest.mark.parametrize('value, dilation, words', [(np.nan, 0, 'not finite'), (np.inf, 0, 'not finite'),
                                                    (1.0, 5, 'up to dilation 5 .* wanted 1 to 4'), (1.0, -1, 'wanted 1 to 4')])
def test_weights_that_are_not_finite_and_dilations_out_of_reach_are_refused(value, dilation, words):
    with pytest.raises(ic.UserError, match=words):
        dilation_pattern(np.full((2, 2, 9, 9), value), dilation)


def test_a_supernet_has_one_large_convolution_in_place_of_each_3x3_and_gradients_everywhere():
    model = supernet(3).train()
    model(paddle.randn([2, 3, 32, 32])).sum().backward()
    assert model.layer2[0].conv2.weight.shape == [128, 128, 7, 7]
    assert all(p.grad.abs().max() > 0 for p in model.parameters() if not p.stop_gradient)
    maps = model.forward_intermediates(paddle.randn([1, 3, 70, 33]))
    assert [tuple(m.shape[2:]) for m in maps] == [(35, 17), (18, 9), (9, 5), (5, 3), (3, 2)]


def test_a_negative_supernet_is_refused():
    with pytest.raises(ic.UserError, match='SUPERNET_DILATION is -1; wanted'):
        supernet(-1)


def test_all_convolutions_of_a_supernet_are_searched_in_network_order():
    state = {f'layer{stage}.{block}.conv2.weight': kernels([(2, stage % 2 + 1)], 2)
             for stage, block in [(2, 0), (1, 10), (1, 9), (4, 0)]}
    found = search_dilations({**state, 'layer1.9.conv1.weight': np.ones((4, 4, 1, 1))})
    assert [conv.name for conv in found] == ['layer1.9.conv2', 'layer1.10.conv2', 'layer2.0.conv2', 'layer4.0.conv2']
    assert [conv.branches for conv in found] == [[(2, 2, 1)], [(2, 2, 1)], [(2, 1, 1)], [(2, 1, 1)]]


def test_shares_kept_are_those_of_the_sum_of_absolute_weights():
    weight = np.zeros((2, 1, 5, 5))
    weight[0, 0, 0, 0], weight[0, 0, 2, 2], weight[1, 0, 1, 1] = -3.0, 1.0, 4.0
    [conv] = search_dilations({'layer1.0.conv2.weight': weight})
    assert conv.kept == 1.0 and conv.undilated == 5 / 8
    [zero] = search_dilations({'layer1.0.conv2.weight': 0 * weight})
    assert zero.kept == 0.0


@pytest.mark.parametrize('state, words', [
    ({'layer1.0.conv2.conv_list.0.weight': np.ones((4, 4, 3, 3))}, r'no supernet.* MODEL\.IC\.SUPERNET_DILATION 4'),
    ({'layer3.1.conv2.weight': np.ones((4, 4, 4, 4))}, r'layer3\.1\.conv2\.weight: the weights have the shape \(4, 4, 4, 4\)')])
def test_weights_of_no_supernet_are_refused(state, words):
    with pytest.raises(ic.UserError, match=words):
        search_dilations(state)


def test_a_found_pattern_is_written_in_the_format_that_is_read(tmp_path):
    pattern = [dilation_pattern(kernels(PLANTED, 4))[0], [(1, 1, 64)]]
    write_pattern(pattern, tmp_path / 'pattern.json')
    assert load_pattern(str(tmp_path / 'pattern.json')) == read_pattern(tmp_path / 'pattern.json') == pattern
    assert [path.name for path in tmp_path.iterdir()] == ['pattern.json']
    assert '"(2, 1)": 1' in (tmp_path / 'pattern.json').read_text()


@pytest.mark.parametrize('pattern, name, words', [
    ([[(1, 1, 2), (1, 1, 3)]], 'pattern.json', 'convolution 0 has 2 branches of 1 dilations'),
    ([[(1, 1, 2)]], 'nowhere/pattern.json', 'cannot write .*pattern.json: No such file')])
def test_a_pattern_that_cannot_be_written_is_refused(pattern, name, words, tmp_path):
    with pytest.raises(ic.UserError, match=words):
        write_pattern(pattern, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_found_network_computes_what_a_supernet_does_whose_weights_are_zero_besides_the_taps(float64, tmp_path):
    model = supernet(2)
    rng = np.random.default_rng(0)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        weight = stage[0].conv2.weight
        planted = kernels(rng.integers(1, 3, (weight.shape[0], 2)), 2, inputs=weight.shape[1], seed=1)
        weight.set_value(planted * rng.uniform(0.02, 0.03, planted.shape))
    found = search_dilations(arrays(model))
    assert all(conv.kept == pytest.approx(1.0) and len(conv.branches) == 4 for conv in found)
    write_pattern([conv.branches for conv in found], tmp_path / 'pattern.json')
    cfg = model.config.clone()
    cfg.defrost()
    cfg.MODEL.IC.SUPERNET_DILATION, cfg.MODEL.IC.PATTERN = 0, str(tmp_path / 'pattern.json')
    heir = build_model(cfg).eval()
    load_state(heir, inherit_weights(arrays(model), found), 'the supernet')
    images = paddle.randn([2, 3, 64, 64])
    with paddle.no_grad():
        expected, logits = model(images).numpy(), heir(images).numpy()
    assert np.abs(logits - expected).max() < 1e-12 * np.abs(expected).max() and expected.std() > 0


def test_a_supernet_that_lacks_a_norm_leaves_nothing_to_inherit():
    state = {'layer1.0.conv2.weight': kernels([(1, 1)], 2)}
    with pytest.raises(ic.UserError, match="lack 'layer1.0.bn2.weight'"):
        inherit_weights(state, search_dilations(state))
