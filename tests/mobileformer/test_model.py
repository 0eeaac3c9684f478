import json

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import image_classification as ic
from image_classification.cpu.convolution import Product
from image_classification.fuse import reparameterize
from image_classification.mobileformer import build_mformer, get_config
from tests.golden import DATA, Recording
from tests.networks import outline

PARAMETERS = {'26m': 3_204_324, '52m': 3_490_860, '96m': 4_564_400, '151m': 7_570_582, '214m': 9_357_167, '294m': 11_320_606,
              '508m': 13_916_561}
RECORDED = ['26m', '151m', '294m']
NO_DROP = {'drop_rate': 0.0, 'drop_path_rate': 0.0, 'attention_dropout': 0.0, 'mlp_dropout': 0.0}


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_recorded_number_of_parameters(variant):
    model = outline(f'mobileformer_{variant}')
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == PARAMETERS[variant]


def test_has_the_seeds_parameter_names_in_their_order():
    keys = [(key, shape) for key, shape, *_ in Recording('seed_mobileformer_26m').meta['keys']]
    assert [(key, list(value.shape)) for key, value in ic.create_model('mobileformer_26m').state_dict().items()] == keys


def test_the_maps_at_each_stride_are_the_recorded_ones(float64):
    recording = Recording('seed_mobileformer_26m')
    model = recording.fill(ic.create_model('mobileformer_26m')).eval()
    with paddle.no_grad():
        maps = model.forward_intermediates(paddle.to_tensor(next(iter(recording.inputs())).astype('float64')))
    means = dict(zip((f['name'] for f in recording.meta['features']), recording.arrays['feat_mean_0']))
    recorded = [means['stem'], means['bneck_lite'], *(means[f'blocks.{i}:0'] for i in range(len(model.blocks)))]
    np.testing.assert_allclose([m.mean().item() for m in maps], [recorded[i] for i in model.levels], rtol=1e-3, atol=1e-5)


def test_the_52m_of_paddlevit_differs_by_the_stride_of_its_lite_bottleneck():
    assert ic.create_model('mobileformer_52m').feature_strides == [2, 4, 8, 16, 32]
    slip = get_config('mobileformer_52m', {'MODEL.MF.LITE_BNECK.STRIDE': 1})
    assert ic.create_model(slip).feature_strides == [2, 4, 8, 16]


def test_the_seeds_usage_runs_as_written():
    model = build_mformer(get_config('mobileformer_26m.yaml'))
    assert model(paddle.rand((1, 3, 224, 224))).shape == [1, 1000]


def test_gives_logits_in_training_and_evaluation_alike():
    model = ic.create_model('mobileformer_26m', num_classes=7, **NO_DROP)
    x = paddle.rand((4, 3, 64, 64))
    for mode in (model.train(), model.eval()):
        assert not np.allclose(mode(x).sum(1).numpy(), 1.0, atol=1e-3)


def test_an_image_is_classified_the_same_whatever_its_batch_mates():
    model = ic.create_model('mobileformer_26m').eval()
    x = paddle.rand((3, 3, 64, 96))
    alone = model(x[1:2]).numpy()
    np.testing.assert_allclose(model(x)[1:2].numpy(), alone, atol=1e-4 * alone.std())


def test_each_parameter_gets_a_gradient():
    model = ic.create_model('mobileformer_26m', num_classes=3)
    model(paddle.rand((2, 3, 64, 64))).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if not p.stop_gradient)


def test_head_follows_features():
    model = ic.create_model('mobileformer_26m').eval()
    x = paddle.rand((2, 3, 64, 64))
    features = model.forward_features(x)
    assert [list(f.shape) for f in features] == [[2, 576, 2, 2], [2, 3, 128]]
    assert (model.forward_head(features) == model(x)).all()


def test_a_new_classifier_has_the_wanted_classes():
    model = ic.create_model('mobileformer_26m').eval()
    model.reset_classifier(5)
    assert model(paddle.rand((2, 3, 64, 64))).shape == [2, 5]


def test_learns_eight_images():
    paddle.seed(0)
    model = ic.create_model('mobileformer_26m', num_classes=8, **NO_DROP)
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
    x, y = paddle.randn((8, 3, 64, 64)), paddle.arange(8)
    losses = []
    for _ in range(4):
        losses.append(F.cross_entropy(model(x), y))
        losses[-1].backward()
        optimizer.step()
        optimizer.clear_grad()
    assert losses[-1].item() < losses[0].item()


@pytest.mark.parametrize('key, value, words', [
    ('MODEL.MF.NUM_HEAD', 5, 'NUM_HEAD is 5'), ('MODEL.MF.BLOCK.STRIDES', [1, 2], 'differ in length'),
    ('MODEL.MF.STEM.OUT_CHANNELS', 12, 'do not fit'), ('MODEL.MF.INIT', 'he', 'INIT is'),
    ('MODEL.MF.LITE_BNECK.ACT', 'elu', 'ACT is')])
def test_parts_that_do_not_fit_are_named(key, value, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(get_config('mobileformer_26m', {key: value}))


@pytest.mark.parametrize('key, value', [
    ('MODEL.MF.LITE_BNECK.ACT', 'hardswish'), ('MODEL.MF.DYRELU.USE_DYRELU', False), ('MODEL.MF.DYRELU.DYRELU_K', 3),
    ('MODEL.MF.QKV_BIAS', False), ('MODEL.MF.ALPHA', 2.0), ('MODEL.MF.INIT', 'kn'), ('MODEL.IN_CHANNELS', 1)])
def test_every_choice_of_the_configuration_trains(key, value):
    model = ic.create_model(get_config('mobileformer_26m', {key: value, 'MODEL.NUM_CLASSES': 3}))
    assert model(paddle.rand((2, model.config.MODEL.IN_CHANNELS, 64, 64))).shape == [2, 3]


def test_dropout_acts_in_training_only():
    model = ic.create_model('mobileformer_26m', drop_rate=0.5, drop_path=0.5, attention_dropout=0.5, mlp_dropout=0.5)
    for block in model.sublayers():
        if isinstance(block, paddle.nn.BatchNorm2D):
            block.eval()
    x = paddle.rand((2, 3, 64, 64))
    assert (model(x) != model(x)).any()
    model.eval()
    assert (model(x) == model(x)).all()


def test_the_recorded_configurations_are_ours():
    for variant in RECORDED:
        block = json.loads((DATA / f'seed_mobileformer_{variant}.json').read_text())['config_MODEL']['MF']['BLOCK']
        assert get_config(f'mobileformer_{variant}').MODEL.MF.BLOCK.STRIDES == block['STRIEDS']


@pytest.mark.parametrize('variant, products', [('26m', False), ('26m', True), ('96m', False), ('508m', True)])  # stems of 8, 12, 24
def test_made_ready_for_an_export_it_gives_the_same_maps_and_logits(variant, products):
    model, x = ic.create_model(f'mobileformer_{variant}'), paddle.randn([2, 3, 64, 96])
    model.eval()
    ready = reparameterize(model, products)
    assert ready.stem.conv.weight.shape[0] >= 16
    assert isinstance(ready.blocks[0].mobile.bneck.in_pw.conv, Product) == products
    for expected, found in zip([*model.forward_intermediates(x), model(x)], [*ready.forward_intermediates(x), ready(x)]):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-4 * expected.std().item())
