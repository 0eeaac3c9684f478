"""Heat lies on what decides, and is made of the true derivatives."""
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread

import numpy as np
import paddle
import pytest
from PIL import Image

import image_classification as ic
from image_classification.errors import UserError
from image_classification.explain import explain_class, grad_cam
from image_classification.explain.cam import finer_layer, heat_of
from image_classification.explain.inputs import explaining, preprocess_of
from tests.explain.conftest import OBJECT, SIDE, scene
from tests.networks import empty, settled
from tests.test_models import CLASSIFIERS, LARGE

FACES = ['blazeface_front', 'blazeface_back']
# The last map; a map beside tokens; a block's map that feeds two paths; a detector's.
EXPLAINED = ['mobilenet_v2_x0_35', 'uniformer_xxs', 'mobileformer_26m', 'mobileformer_official_26m', *FACES]


def inside(heat, row, column):
    """The share of the heat within half an object of one."""
    rows, columns = (slice(max(0, start - OBJECT // 2), start + OBJECT * 3 // 2) for start in (row, column))
    return heat[rows, columns].sum() / heat.sum()


def test_heat_lies_on_the_object(knows_colours):
    rng, shares = np.random.default_rng(0), []
    for colour in 4 * [0, 1, 2]:
        place = rng.integers(0, SIDE - OBJECT, 2)
        found = explain_class(knows_colours, scene(rng, (colour, *place)))
        assert found.class_index == colour
        shares.append(inside(found.heat, *place) / inside(np.ones([SIDE, SIDE]), *place))
    assert np.mean(shares) > 1.5 and np.median(shares) > 1.7       # 1 would be chance


def test_of_two_objects_each_class_has_its_own(knows_colours):
    rng = np.random.default_rng(0)
    picture = scene(rng, (0, 4, 4), (2, 80, 84))
    for colour, place, other in ((0, (4, 4), (80, 84)), (2, (80, 84), (4, 4))):
        heat = grad_cam(knows_colours, picture, colour)
        assert inside(heat, *place) > 0.5 and inside(heat, *other) < 0.1


@pytest.mark.parametrize('name', EXPLAINED)
def test_the_gradient_is_what_finite_differences_give(float64, name):
    model = settled(ic.create_model(name)).astype('float64')
    image = np.random.default_rng(0).standard_normal((3, 96, 96))
    found = explain_class(model, image)
    typical = np.sqrt(np.square(found.gradient).mean())
    direction = found.gradient / typical + np.random.default_rng(1).standard_normal(found.gradient.shape)
    direction *= 1e-6 * found.activation.std()
    if name in FACES:
        direction[found.activation == 0] = 0                       # the maximum of equal pixels has no derivative
    ends = [moved_logit(model, image, found, sign * direction) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2 == pytest.approx((found.gradient * direction).sum(), rel=1e-3)


def moved_logit(model, image, found, step):
    """The logit of the class that was found, with `step` added to the map."""
    step, x = paddle.to_tensor(step).unsqueeze(0), paddle.to_tensor(image).unsqueeze(0)

    def move(layer, inputs, output):
        return (output[0] + step, *output[1:]) if isinstance(output, (tuple, list)) else output + step

    with paddle.no_grad():
        if model.explained_layer() is None:
            logits = model.forward_head(move(None, None, model.forward_features(x)))
        else:
            hook = model.explained_layer().register_forward_post_hook(move)
            output = model(x)
            hook.remove()
            logits = output[1].max(axis=1) if name_of(model) in FACES else output
    return logits[0, found.class_index].item()


def name_of(model):
    return model.config.MODEL.NAME


def test_channels_are_weighed_by_their_mean_derivative():
    activation = np.float32([[[1, 2], [3, 4]], [[4, 0], [0, 0]]])
    gradient = np.float32([[[4, 0], [0, 0]], [[-1, -1], [-1, -1]]])
    assert heat_of(activation, gradient).tolist() == [[0, 0.5], [0.75, 1]]
    assert not heat_of(activation, -gradient - 4).any() and not heat_of(activation, np.full_like(gradient, np.nan)).any()


def test_a_picture_is_explained_as_the_network_sees_it(knows_colours):
    pixels = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    prepared = preprocess_of(knows_colours)(Image.fromarray(pixels))
    expected = grad_cam(knows_colours, prepared, 1)
    assert expected.shape == (256, 256) and expected.max() <= 1 and expected.min() >= 0
    for image in (pixels, Image.fromarray(pixels), paddle.to_tensor(prepared), prepared[None]):
        assert np.array_equal(grad_cam(knows_colours, image, 1), expected)
    assert grad_cam(knows_colours, prepared[:, :, :160], 1).shape == (256, 160)


@pytest.mark.parametrize('channels', [1, 4])
def test_networks_of_grey_and_of_transparent_pictures_take_any_picture(channels):
    model = ic.create_model(ic.get_config('mobilenet_v1_x0_25', {
        'MODEL.IN_CHANNELS': channels, 'DATA.IMAGENET_MEAN': [0.5] * channels, 'DATA.IMAGENET_STD': [0.5] * channels}))
    for mode in ('L', 'RGB', 'RGBA', 'CMYK', 'P', '1', 'I;16'):
        assert grad_cam(model, Image.new(mode, (50, 40)), 2).shape == (224, 224)


def test_a_named_layer_gives_the_same_as_the_last_map_that_it_makes(knows_colours):
    picture = scene(np.random.default_rng(0), (1, 20, 70))
    by_name = grad_cam(knows_colours, picture, layer='stages.3')
    assert np.allclose(by_name, grad_cam(knows_colours, picture), atol=1e-5)
    finer = explain_class(knows_colours, picture, layer='stages.1')
    assert finer.activation.shape[1:] == (16, 16) and finer.heat.shape == (SIDE, SIDE)


def test_the_network_is_left_as_it_was(knows_colours):
    model = ic.create_model('mobilenet_v3_small_x0_5')             # in training mode, but for one frozen layer
    model.features[0].eval()
    frozen = model.parameters()[0]
    frozen.stop_gradient = True
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    flags = [layer.training for layer in model.sublayers()], [p.stop_gradient for p in model.parameters()]
    with paddle.no_grad():                                         # as a web page may call it
        grad_cam(model, np.zeros((3, 64, 64), np.float32))
    assert flags == ([layer.training for layer in model.sublayers()], [p.stop_gradient for p in model.parameters()])
    assert all(p.grad is None for p in model.parameters())
    assert all(np.array_equal(value.numpy(), before[name]) for name, value in model.state_dict().items())


def test_threads_may_explain_and_predict_with_one_network():
    model = settled(ic.create_model('mobileformer_26m', num_classes=5))
    images = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    alone = [grad_cam(model, image) for image in images]
    with paddle.no_grad():
        logits = model(paddle.to_tensor(images)).numpy()

    def predict(image):
        with paddle.no_grad():
            return model(paddle.to_tensor(images)).numpy()

    with ThreadPoolExecutor(4) as pool:
        heats, predictions = pool.map(partial(grad_cam, model), images.repeat(3, 0)), pool.map(predict, range(12))
        for i, (heat, predicted) in enumerate(zip(heats, predictions)):
            assert np.allclose(heat, alone[i // 3], atol=1e-4) and np.allclose(predicted, logits, atol=1e-4)
    assert not model.parameters()[0].stop_gradient


def test_a_second_explanation_waits_for_the_first(knows_colours):
    second = Thread(target=grad_cam, args=(knows_colours, np.zeros((3, 64, 64), np.float32)))
    with explaining(knows_colours):
        second.start()
        second.join(0.5)
        assert second.is_alive()
    second.join()
    assert not knows_colours.parameters()[0].stop_gradient


@pytest.mark.parametrize('arguments, words', [
    ({'class_index': 3}, 'class_index is 3; wanted a whole number from 0 to 2'), ({'class_index': -1}, 'class_index is -1'),
    ({'class_index': 'red'}, "class_index is 'red'"), ({'class_index': True}, 'class_index is True'),
    ({'layer': 'stages.9'}, "has no layer 'stages.9'; wanted .*stages"), ({'layer': 'head'}, 'head gives no map'),
    ({'image': np.zeros((2, 3, 64, 64), np.float32)}, 'wanted one image'), ({'image': 'nowhere.png'}, 'nowhere.png')])
def test_what_cannot_be_explained_is_said(knows_colours, arguments, words):
    with pytest.raises(UserError, match=words):
        grad_cam(knows_colours, **{'image': np.zeros((3, 64, 64), np.float32), **arguments})
    assert not knows_colours.training and not knows_colours.parameters()[0].stop_gradient


@pytest.mark.parametrize('name', [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in CLASSIFIERS])
def test_a_finer_layer_can_be_explained_on_small_pictures(name):
    """Of all families: python -m pytest -m slow tests/explain/test_cam.py"""
    model, image = empty(name, num_classes=3), np.zeros((3, 96, 96), np.float32)
    layer, size = finer_layer(model, image)
    assert min(size) >= 4 and explain_class(model, image, layer=layer).activation.shape[1:] == size
    assert finer_layer(model, image, least=1000) is None


@pytest.mark.parametrize('name, words', [('efficientvit_m0_yolo', 'has no head'), ('blazeface', 'no logits')])
def test_a_network_without_classes_is_refused(name, words):
    with pytest.raises(UserError, match=words):
        grad_cam(ic.create_model(name), np.zeros((3, 64, 64), np.float32))


def test_feature_maps_and_exports_are_refused():
    image = np.zeros((3, 64, 64), np.float32)
    with pytest.raises(UserError, match='features_only'):
        grad_cam(ic.create_model('mobilenet_v1_x0_25', features_only=True), image)
    with pytest.raises(UserError, match='an export runs without gradients'):
        grad_cam(paddle.nn.Linear(2, 2), image)
