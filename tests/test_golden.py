"""Every network against the recordings of its original: parameters, MACs, outputs and stage features."""
import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs, count_parameters
from tests.golden import Recording, our_name, recordings, standard_normal
from tests.networks import empty, outline

KNOWN = [name for name in recordings() if our_name(name) in ic.list_models()]
# What the original's layers of these names apply besides.
RELU, RELU6, HARDSWISH = (getattr(paddle.nn.functional, name) for name in ('relu', 'relu6', 'hardswish'))
ACTIVATIONS = {('mobilenet_v1', 'bn1'): RELU6, ('efficientnet_lite', 'bn1'): RELU6, ('efficientnet_lite', 'bn2'): RELU6,
               ('mobilenet_v4', 'bn1'): RELU, ('mobilenet_v4', 'norm_head'): RELU, ('lcnet', 'bn1'): HARDSWISH,
               ('lcnet', 'conv_head'): HARDSWISH, ('ghostnet', 'bn1'): RELU, ('ghostnet', 'conv_head'): RELU}   # timm: in place


# Of families with operators of their own; the others' multiply-adds, and how they round in float32, are for the long run.
LIGHT = {'edgenext_xx_small', 'efficientvit_m0', 'mobilenet_v3_small', 'shufflenet_v2_x0_5'}
# A second variant of a family shows the same code.
FURTHER = {'edgenext_xx_small_bn_hs', 'edgenext_small', 'efficientnet_lite4', 'efficientvit_m0_downstream',
           'efficientvit_m0_seed', 'efficientvit_m3', 'fastvit_sa12', 'ghostnet_v1_x0_5', 'mobile_former_96m',
           'mobile_former_294m', 'mobilenext_100',
           'seed_mobileformer_151m', 'seed_mobileformer_294m', 'shufflenet_v1_g3_1_0x', 'shufflenet_v1_g8_1_0x',
           'shufflenet_v2_x1_0', 'uniformer_small', 'uniformer_small_plus_dim64'}
# Whose first input, two pictures of up to 299 pixels, is for the long run.
LARGE = {'inception_v2_bfmd', 'inception_v3', 'inception_v4', 'xception', 'efficientvit_mit_b0', 'hgnet_v2_b0', 'mobilevit_xxs'}
FEW = [name if name in LIGHT else pytest.param(name, marks=pytest.mark.slow) for name in KNOWN]
ONE_EACH = [pytest.param(name, marks=pytest.mark.slow) if name in FURTHER else name for name in KNOWN]


@pytest.mark.parametrize('name', KNOWN)
def test_has_the_recorded_number_of_parameters(name):
    assert count_parameters(outline(our_name(name))) == Recording(name).meta['n_params']


@pytest.mark.parametrize('name', FEW)
def test_costs_the_recorded_macs(name):
    """All: python -m pytest -m slow tests/test_golden.py"""
    meta = Recording(name).meta
    assert count_macs(empty(our_name(name)), meta['macs_input'][-1]) == pytest.approx(meta['macs'], rel=0.005)


@pytest.mark.parametrize('name', FEW)
def test_in_float32_outputs_and_features_equal_the_recorded_ones(name):
    check_outputs(name, 'float32', 1e-4)


@pytest.mark.parametrize('name', ONE_EACH)
def test_outputs_and_features_equal_the_recorded_ones(name, float64):
    check_outputs(name, 'float64', 2e-6, first=name in LARGE)


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(LARGE))
def test_outputs_and_features_of_every_input_equal_the_recorded_ones(name, float64):
    """python -m pytest -m slow tests/test_golden.py"""
    check_outputs(name, 'float64', 2e-6)


def check_outputs(name, dtype, tolerance, first=0):
    """Of the inputs from number `first` on."""
    recording = Recording(name)
    model = recording.fill(empty(our_name(name)))
    features = watch(model, [feature['name'] for feature in recording.meta['features']])
    for j, image in list(enumerate(recording.inputs()))[first:]:
        with paddle.no_grad():
            outputs = model(paddle.to_tensor(image.astype(dtype)))
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        wanted = recording.outputs(j)
        assert len(outputs) == len(wanted)
        for output, (values, stride) in zip(outputs, wanted):
            found = output.numpy().reshape(-1)[::stride]
            assert abs(found - values.reshape(-1)).max() <= tolerance * values.std()
        for i, feature in enumerate(recording.meta['features']):
            if feature['name'] in features:
                act = ACTIVATIONS.get((recording.meta['family'], feature['name']), lambda x: x)
                check_feature(act(features[feature['name']]).numpy(), recording.arrays, i, j, 100 * tolerance)


# Of a recorded training step on four images in float64, dropout and stochastic depth off: the image's size, the loss, the norm
# of the whole gradient, and how many parameters have a gradient of zero.
STEPS = {'edgenext_xx_small': (96, 7.494548, 16.9939, 0), 'efficientvit_m0': (224, 8.33872477, 52.7825, 6),
         'mobile_former_26m': (96, 6.73901991, 168.91, 10), 'mobilenet_v3_small': (96, 6.80212923, 8.62398, 11),
         'seed_mobileformer_26m': (96, 6.89736168, 159.698, 66), 'uniformer_small': (96, 7.53830446, 90.36, 1)}


@pytest.mark.parametrize('name', [name for name in STEPS if name in KNOWN])
def test_a_training_step_equals_the_recorded_one(name, float64):
    size, wanted_loss, wanted_norm, zeros = STEPS[name]
    off = {key: 0.0 for key in ic.get_config(our_name(name)).MODEL if 'DROP' in key}
    cfg = ic.get_config(our_name(name), {f'MODEL.{key}': value for key, value in off.items()})
    model = Recording(name).fill(empty(cfg)).train()
    x = paddle.to_tensor(standard_normal(2, (4, 3, size, size)).astype('float64'))
    loss = paddle.nn.functional.cross_entropy(model(x), paddle.to_tensor([1, 2, 3, 4]))
    loss.backward()
    gradients = [p.grad for p in model.parameters() if not p.stop_gradient]
    largest = [abs(gradient).max().item() for gradient in gradients]
    assert loss.item() == pytest.approx(wanted_loss, abs=5e-7)
    assert sum(gradient.square().sum() for gradient in gradients).sqrt().item() == pytest.approx(wanted_norm, rel=1e-5)
    assert sum(value < 1e-10 * max(largest) for value in largest) == zeros


def watch(model, names):
    """{feature name: its latest output}, filled when the model runs; features of sub-layers that are not called stay away."""
    found, layers = {}, dict(model.named_sublayers())

    def keep(name, element):
        def hook(layer, inputs, output):
            found[name] = output[int(element)] if element else output
        return hook
    for name in names:
        path, _, element = name.partition(':')
        if path in layers:
            layers[path].register_forward_post_hook(keep(name, element))
    return found


def check_feature(values, arrays, i, j, tolerance):
    scale = arrays[f'feat_std_{j}'][i]
    assert abs(values.mean() - arrays[f'feat_mean_{j}'][i]) <= tolerance * scale
    assert abs(values.std() - scale) <= tolerance * scale
    np.testing.assert_allclose(values[0].reshape(-1)[:8], arrays[f'feat_first8_{j}'][i], atol=tolerance * scale)
