import copy

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.efficientvit import EfficientViT, from_classifier
from image_classification.efficientvit.model import CascadedGroupAttention, LocalWindowAttention, distances
from image_classification.weights import from_torch, load_state
from tests.golden import Recording
from tests.networks import empty, outline

PARAMETERS = {'m0': 2_349_436, 'm1': 2_980_560, 'm2': 4_187_554, 'm3': 6_900_722, 'm4': 8_804_228, 'm5': 12_473_772,
              'm0_det': 2_155_680, 'm4_det': 8_418_856, 'm0_yolo': 2_155_680, 'm5_yolo': 12_088_532}
MACS = {'m1': 167.05, 'm2': 201.04, 'm4': 299.31, 'm5': 521.58, 'm5_yolo': 1766.15}  # millions at 224 x 224


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_recorded_number_of_parameters(variant):
    assert count_parameters(outline(f'efficientvit_{variant}')) == PARAMETERS[variant]


@pytest.mark.slow
@pytest.mark.parametrize('variant', MACS)
def test_costs_the_recorded_macs_without_a_recording_at_hand(variant):
    """PYTHONPATH=. python -m pytest -m slow tests/efficientvit; tests/test_golden.py has those with a recording."""
    assert count_macs(empty(f'efficientvit_{variant}'), 224) == pytest.approx(1e6 * MACS[variant], rel=0.005)


@pytest.mark.parametrize('size', range(6))
def test_both_detector_backbones_differ_by_their_strides_only(size):
    authors, seed = (outline(f'efficientvit_m{size}_{kind}') for kind in ('det', 'yolo'))
    assert (authors.feature_strides, seed.feature_strides) == ([16, 32, 64], [8, 16, 32])
    assert {n: p.shape for n, p in authors.state_dict().items()} == {n: p.shape for n, p in seed.state_dict().items()}


def test_a_yolo_neck_gets_three_maps_at_640_pixels():
    model = empty('efficientvit_m0_yolo')
    with paddle.no_grad():
        maps = model(paddle.rand((1, 3, 640, 640)))
    assert [m.shape for m in maps] == [[1, 64, 80, 80], [1, 128, 40, 40], [1, 192, 20, 20]]


def test_a_backbone_has_no_head():
    model = ic.create_model('efficientvit_m0_det')
    assert model.classifier_layers == () and model.forward_features(paddle.rand((1, 3, 64, 64))).shape == [1, 192, 1, 1]
    for question in (lambda: model.reset_classifier(5), lambda: model.forward_head(None)):
        with pytest.raises(ic.UserError, match='no (head|classifier)'):
            question()


def test_levels_are_chosen_from_a_classifier_and_a_backbone_alike():
    for name, strides in (('efficientvit_m0', (16, 64)), ('efficientvit_m0_yolo', (8, 32))):
        model = ic.create_model(name, features_only=True, out_indices=(0, -1), in_chans=1).eval()
        maps = model(paddle.rand((1, 1, 128, 192)))
        assert (model.channels, model.strides) == ((64, 192), strides)
        assert [m.shape for m in maps] == [[1, c, 128 // s, 192 // s] for c, s in zip(model.channels, strides)]


def test_fusing_gathers_the_attention_biases_once():
    model = ic.create_model('efficientvit_m0').eval()
    fused = ic.fuse(model)
    layers = [layer for layer in fused.sublayers() if isinstance(layer, CascadedGroupAttention)]
    assert len(layers) == 6 and all(layer.biases() is layer.biases() for layer in layers)
    for layer in layers:
        layer.attention_biases.set_value(layer.attention_biases + 1.0)
    assert (fused(images := paddle.rand((1, 3, 64, 64))) - model(images)).abs().max() < 1e-4
    assert type(model.blocks1[0].mixer.m.attn) is CascadedGroupAttention


def test_the_bias_of_a_pair_depends_on_its_distance_in_the_published_order():
    points = [(y, x) for y in range(3) for x in range(3)]
    order = {}
    for a in points:
        for b in points:
            order.setdefault((abs(a[0] - b[0]), abs(a[1] - b[1])), len(order))
    wanted = [[order[abs(a[0] - b[0]), abs(a[1] - b[1])] for b in points] for a in points]
    assert distances(3).tolist() == wanted


def test_the_table_of_distances_is_no_weight_and_survives_copies_and_casts():
    model = ic.create_model('efficientvit_m0').eval()
    assert not [name for name in model.state_dict() if 'idxs' in name]
    twin = copy.deepcopy(model).to(dtype='float64')
    x = paddle.rand((1, 3, 64, 64))
    wanted = model(x).numpy()
    np.testing.assert_allclose(twin(x.astype('float64')).numpy(), wanted, atol=1e-4 * wanted.std())


def test_weights_loaded_in_evaluation_mode_count_at_once():
    """The original caches its attention biases when `eval()` is called."""
    model, x = ic.create_model('efficientvit_m0').eval(), paddle.rand((1, 3, 64, 64))
    before = Recording('efficientvit_m0').fill(model)(x)
    biases = model.blocks1[0].mixer.m.attn.attention_biases
    biases.set_value(paddle.randn(biases.shape))
    assert (model(x) != before).any()


@pytest.mark.parametrize('height, width', [(7, 14), (4, 4), (9, 16), (6, 8)])
def test_a_map_that_the_window_does_not_divide_is_padded_below_and_right(height, width):
    layer = LocalWindowAttention(16, 4, 2, 7, [3, 5]).eval()
    for parameter in layer.parameters():
        parameter.set_value(paddle.rand(parameter.shape))
    x = paddle.randn((2, 16, height, width))
    padded = paddle.zeros((2, 16, 14, 21))
    padded[:, :, :height, :width] = x
    for row in range(0, height, 7):
        for column in range(0, width, 7):
            alone = layer.attn(padded[:, :, row:row + 7, column:column + 7])
            found = layer(x)[:, :, row:row + 7, column:column + 7]
            wanted = alone[:, :, :found.shape[2], :found.shape[3]].numpy()
            np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize('height, width', [(1, 1), (33, 50), (300, 100)])
def test_takes_any_size(height, width):
    x = paddle.rand((1, 3, height, width))
    assert ic.create_model('efficientvit_m0', num_classes=4).eval()(x).shape == [1, 4]
    assert [m.shape[2] for m in ic.create_model('efficientvit_m0_yolo').eval()(x)] == [-(-height // s) for s in (8, 16, 32)]


def test_no_attention_bias_takes_weight_decay():
    model = outline('efficientvit_m5')
    assert len(model.no_weight_decay()) == 8 and model.no_weight_decay() <= set(model.state_dict())


def test_gradients_of_attention_biases_are_those_of_finite_differences(float64):
    paddle.seed(0)
    layer = LocalWindowAttention(16, 4, 2, 3, [3, 5]).eval()
    for parameter in layer.parameters():
        parameter.set_value(paddle.rand(parameter.shape))
    biases, x = layer.attn.attention_biases, paddle.randn((2, 16, 4, 5))
    layer(x).square().sum().backward()
    step = paddle.zeros(biases.shape)
    step[1, 4] = 1e-4
    values = []
    for sign in (1, -1):
        biases.set_value(biases + sign * step)
        values.append(layer(x).square().sum().item())
        biases.set_value(biases - sign * step)
    assert biases.grad[1, 4].item() == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-4)


def test_a_new_classifier_keeps_the_batch_norm_before_it():
    model = ic.create_model('efficientvit_m0').eval()
    norm = model.head.bn
    model.reset_classifier(5)
    x = paddle.rand((2, 3, 64, 64))
    assert model.head.bn is norm and model(x).shape == [2, 5]
    assert (model.forward_head(model.forward_features(x)) == model(x)).all()


def test_dropout_acts_in_training_only():
    model = ic.create_model('efficientvit_m0', drop_rate=0.5, drop_path=0.5)
    for layer in model.sublayers():
        if isinstance(layer, (paddle.nn.BatchNorm1D, paddle.nn.BatchNorm2D)):
            layer.eval()
    x = paddle.rand((4, 3, 64, 64))
    assert (model(x) != model(x)).any()
    model.eval()
    assert (model(x) == model(x)).all()


def test_all_batch_norms_are_folded_whatever_the_dropout():
    fused = ic.fuse(ic.create_model('efficientvit_m0', drop_rate=0.2))
    assert not [layer for layer in fused.sublayers() if isinstance(layer, (paddle.nn.BatchNorm1D, paddle.nn.BatchNorm2D))]


def test_a_backbone_starts_from_a_classifiers_weights():
    state = from_torch(empty('efficientvit_m3'), Recording('efficientvit_m3').torch_state())
    model = empty('efficientvit_m3_det')
    fitted = from_classifier(model, state)
    load_state(model, fitted, 'the classifier')
    same = [name for name in fitted if fitted[name] is state[name]]
    resized = sorted(set(fitted) - set(same))
    assert resized == [f'blocks3.{i}.mixer.m.attn.attention_biases' for i in (3, 4, 5)]
    found, wanted = fitted[resized[0]].reshape(4, 7, 7), state[resized[0]].reshape(4, 4, 4)
    np.testing.assert_allclose(found[:, 3, 3], bicubic_centre(wanted), rtol=1e-5)


def bicubic_centre(table):
    """Keys' kernel with a = -0.75 halfway between the four pixels."""
    weights = np.array([-0.09375, 0.59375, 0.59375, -0.09375])
    return np.einsum('hij,i,j->h', table, weights, weights)


def test_m0s_classifier_does_not_fit_its_backbone_whose_kernels_differ():
    state = {name: tensor.numpy() for name, tensor in ic.create_model('efficientvit_m0').state_dict().items()}
    model = ic.create_model('efficientvit_m0_yolo')
    with pytest.raises(ic.UserError, match=r'another shape: .*dws'):
        load_state(model, from_classifier(model, state), 'the classifier')


def test_is_built_from_plain_values():
    model = EfficientViT(3, 0.1, in_channels=4, dims=[32, 48, 64], depths=[1, 1, 1], num_heads=[1, 2, 4],
                         key_dims=[4, 8, 8], windows=[2, 2, 1], kernels=[3, 3, 3, 5], stride=8, drop_path=0.1)
    assert model(paddle.rand((2, 4, 32, 32))).shape == [2, 3]


@pytest.mark.parametrize('key, value, words', [
    ('NUM_HEADS', [3, 4, 4], 'has 3 for a stage of 64'), ('DIMS', [64, 128], 'three numbers'),
    ('DIMS', [60, 128, 192], 'begins with 60'), ('DEPTHS', [1, 0, 3], r'DEPTHS\[1\] is 0'), ('KERNELS', [5, 5, 5], 'the 4 heads'),
    ('KERNELS', [5, 5, 4, 5], 'odd'), ('STRIDE', 4, 'STRIDE is 4')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('efficientvit_m0', {f'MODEL.EFFICIENTVIT.{key}': value}))
