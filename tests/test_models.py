"""What is true of every network. Costly checks run on the smallest variant of each family."""
import numpy as np
import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.deploy.export import export_model

ALL = ic.list_models()
SMALLEST = [name for name in (
    'mobileformer_26m mobileformer_official_26m edgenext_xx_small edgenext_xx_small_bn_hs uniformer_small uniformer_xxs '
    'efficientvit_m0 efficientvit_m0_yolo efficientvit_m0_det mobilenet_v1_x0_25 mobilenet_v2_x0_35 mobilenet_v3_small_x0_5 '
    'mobilenext_x0_35 shufflenet_v1_g3_x0_5 shufflenet_v2_x0_5 googlenet inception_v2 inception_v3 inception_v4 '
    'inception_resnet_v2 xception ic_resnet50 blazeface blazeface_front blazeface_back').split() if name in ALL]
CLASSIFIERS = [name for name in SMALLEST if not name.endswith(('_yolo', '_det')) and not name.startswith('blazeface')]

SHALLOW = ('googlenet', 'inception_v3', 'xception')     # each block is an attribute of its own


def images(model, batch=2, channels=3):
    size = model.config.DATA.IMAGE_SIZE
    return paddle.randn([batch, channels, size, size])


def outputs(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]


def settled(model):
    """The network in evaluation mode, its running statistics and affine parameters such that they matter."""
    paddle.seed(0)
    for layer in model.sublayers():
        if isinstance(layer, (nn.BatchNorm1D, nn.BatchNorm2D)):
            layer._mean.set_value(0.1 * paddle.randn(layer._mean.shape))
            layer._variance.set_value(0.5 + paddle.rand(layer._variance.shape))
            layer.weight.set_value(1.0 + 0.1 * paddle.randn(layer.weight.shape))
    return model.eval()


def test_lists_models_by_a_pattern():
    assert ic.list_models('mobileformer_*m') == sorted(
        name for name in ALL if name.startswith('mobileformer_'))
    assert ic.list_models('nothing*') == []


def test_every_family_has_its_smallest_variant_here():
    families, covered = ({ic.get_config(name).MODEL.TYPE.lower() for name in names} for names in (ALL, SMALLEST))
    assert families == covered


@pytest.mark.parametrize('name', ALL)
def test_every_yaml_bears_its_models_name(name):
    assert ic.get_config(name).MODEL.NAME == name


@pytest.mark.parametrize('name', [name for name in ALL if name not in SMALLEST])
def test_every_other_variant_gives_finite_outputs_and_the_announced_maps(name):
    features = ic.create_model(name, features_only=True).eval()
    x = paddle.randn([1, 3, 96, 96])
    with paddle.no_grad():
        maps, result = features(x), outputs(features.network(x))
    assert [m.shape[1] for m in maps] == list(features.channels)
    assert all(paddle.isfinite(output).all() for output in result)
    assert not features.network.classifier_layers or result[0].shape == [1, 1000]


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_gives_one_row_of_logits_per_image_whatever_the_batch_mates(name):
    model = settled(ic.create_model(name, num_classes=4))
    x = images(model, 3)
    with paddle.no_grad():
        together, alone = model(x), model(x[1:2])
    assert together.shape == [3, 4]
    np.testing.assert_allclose(together[1:2].numpy(), alone.numpy(), atol=1e-3 * float(together.std()))


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_the_head_follows_the_features_and_can_be_replaced(name):
    model = settled(ic.create_model(name, num_classes=4))
    x = images(model, 1)
    with paddle.no_grad():
        assert (model.forward_head(model.forward_features(x)) == model(x)).all()
        model.reset_classifier(7)
        assert model(x).shape == [1, 7]
    assert any(key.startswith(model.classifier_layers[0]) for key in model.state_dict())


@pytest.mark.parametrize('name', SMALLEST)
def test_each_parameter_gets_a_gradient(name):
    model = ic.create_model(name)
    sum(output.sum() for output in outputs(model(images(model)))).backward()
    assert [key for key, p in model.named_parameters() if not p.stop_gradient and p.grad is None] == []


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_two_steps_on_eight_images_lower_the_loss(name):
    paddle.seed(0)
    model = ic.create_model(name, num_classes=8, drop_rate=0.0)
    optimizer = paddle.optimizer.AdamW(3e-4, parameters=model.parameters())
    size = 160 if name.startswith('inception') else 96             # smaller ones leave their last norms a single pixel
    x, y, losses = paddle.randn([8, 3, size, size]), paddle.arange(8), []
    for _ in range(3):
        loss = sum(nn.functional.cross_entropy(logits, y) for logits in outputs(model(x)))
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert losses[2] < losses[0]


@pytest.mark.parametrize('name', [name for name in SMALLEST if name not in SHALLOW])
def test_gradient_checkpoints_change_nothing_but_memory(name):
    results = []
    for checkpointing in (False, True):
        paddle.seed(0)
        model = ic.create_model(name, grad_checkpointing=checkpointing)
        sum(output.sum() for output in outputs(model(paddle.randn([2, 3, 96, 96])))).backward()
        results.append([p.grad for p in model.parameters() if not p.stop_gradient] + list(model.state_dict().values()))
    assert all((plain == saving).all() for plain, saving in zip(*results))


@pytest.mark.parametrize('name', SMALLEST)
def test_feature_maps_have_the_announced_channels_and_strides(name):
    model = ic.create_model(name, features_only=True).eval()
    x = images(model.network, 1)
    with paddle.no_grad():
        maps = model(x)
    assert [m.shape[1] for m in maps] == list(model.channels)
    assert list(model.strides) == sorted(set(model.strides))
    for m, stride in zip(maps, model.strides):                     # valid convolutions lose some pixels at the border
        assert x.shape[-1] / stride - 4 <= m.shape[-1] <= -(-x.shape[-1] // stride)


@pytest.mark.parametrize('name', SMALLEST)
@pytest.mark.parametrize('channels', [1, 4])
def test_takes_other_numbers_of_input_channels(name, channels):
    model = ic.create_model(name, in_chans=channels).eval()
    with paddle.no_grad():
        assert outputs(model(images(model, 1, channels)))[0].shape[0] == 1


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_takes_drop_rates(name):
    model = ic.create_model(name, drop_rate=0.2, drop_path_rate=0.1).config.MODEL
    assert (model.DROPOUT, model.DROPPATH) == (0.2, 0.1)


@pytest.mark.parametrize('name', SMALLEST)
def test_names_of_parameters_without_decay_exist(name):
    model = ic.create_model(name)
    assert model.no_weight_decay() <= {key for key, _ in model.named_parameters()}


@pytest.mark.parametrize('name', SMALLEST)
def test_a_fused_network_agrees_with_the_network(name):
    model = settled(ic.create_model(name))
    fused = ic.fuse(model)
    x = images(model, 1)
    with paddle.no_grad():
        pairs = zip(outputs(model(x)), outputs(fused(x)))
    for plain, folded in pairs:
        assert abs(plain - folded).max().item() <= 1e-4 * plain.std().item()
    assert sum(isinstance(layer, nn.BatchNorm2D) for layer in fused.sublayers()) <= sum(
        isinstance(layer, nn.BatchNorm2D) for layer in model.sublayers())


@pytest.mark.parametrize('name', SMALLEST)
def test_its_export_agrees_at_batches_1_and_3(name, tmp_path):
    model = settled(ic.create_model(name))
    size = min(224, model.config.DATA.IMAGE_SIZE)                  # 299 and 640 pixels would only last longer
    assert export_model(model, tmp_path / 'export', image_size=size).keys() == {1, 3}


def test_keywords_mean_keys_of_the_model():
    model = ic.create_model('mobileformer_26m', in_chans=1, drop_path=0.25, drop_rate=0.5, num_classes=3).config.MODEL
    assert (model.IN_CHANNELS, model.DROPPATH, model.DROPOUT, model.NUM_CLASSES) == (1, 0.25, 0.5, 3)


def test_a_misspelled_keyword_is_answered_with_the_nearest():
    with pytest.raises(ic.UserError, match="'num_clases'; the nearest is 'num_classes'"):
        ic.create_model('mobileformer_26m', num_clases=3)


def test_a_configuration_is_taken_as_it_is():
    cfg = ic.get_config('mobileformer_26m', {'MODEL.NUM_CLASSES': 3})
    assert ic.create_model(cfg).config is cfg
    with pytest.raises(ic.UserError, match='not both'):
        ic.create_model(cfg, num_classes=4)
