"""Every network against the recordings of its original: parameters, MACs, outputs and stage features."""
import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_macs, count_parameters
from tests.golden import Recording, our_name, recordings

KNOWN = [name for name in recordings() if our_name(name) in ic.list_models()]
FEWER_MACS = {'seed_mobileformer'}         # the seed computes each dynamic ReLU's coefficients twice, this library once
ACTIVATIONS = {('mobilenet_v1', 'bn1'): paddle.nn.functional.relu6}  # what the original's layer of that name applies besides


@pytest.fixture(scope='module', params=KNOWN)
def recorded(request):
    """(name, recording), read once for all tests of a network."""
    return request.param, Recording(request.param)


def test_has_the_recorded_parameters(recorded):
    name, recording = recorded
    assert count_parameters(ic.create_model(our_name(name))) == recording.meta['n_params']


def test_costs_the_recorded_macs(recorded):
    name, recording = recorded
    size = recording.meta['macs_input'][-1]
    tolerance = 0.008 if recording.meta['family'] in FEWER_MACS else 0.005
    assert count_macs(ic.create_model(our_name(name)), size) == pytest.approx(recording.meta['macs'], rel=tolerance)


@pytest.mark.parametrize('dtype, tolerance', [('float32', 1e-4), ('float64', 2e-6)])
def test_outputs_and_features_equal_the_recorded_ones(recorded, dtype, tolerance, float64):
    paddle.set_default_dtype(dtype)
    name, recording = recorded
    model = recording.fill(ic.create_model(our_name(name))).eval()
    features = watch(model, [feature['name'] for feature in recording.meta['features']])
    for j, image in enumerate(recording.inputs()):
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
