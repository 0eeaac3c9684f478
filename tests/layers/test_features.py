"""Networks without their heads, as detectors and segmenters use them."""
import copy

import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.weights import load_state, to_torch, write_safetensors
from tests.networks import empty, outline


def features(**keywords):
    return ic.create_model('mobilenet_v1_x0_25', features_only=True, **keywords)


@pytest.fixture
def picture():
    return paddle.randn([2, 3, 64, 64])


@pytest.mark.parametrize('name, share', [('mobilenet_v3_small_x1_0', 0.36), ('mobileformer_26m', 0.45), ('googlenet', 0.43)])
def test_a_network_of_maps_holds_no_head(name, share):
    with paddle.LazyGuard():
        features = ic.create_model(name, features_only=True)
    network, whole = features.network, outline(name).state_dict()
    needed = tuple(f'{layer}.' for level in network.feature_layers for layer in level)
    assert network.state_dict().keys() == {key for key in whole if f'{key}.'.startswith(needed)}
    assert not any(key.startswith(network.classifier_layers) for key in network.state_dict())
    assert sum(p.size for p in features.parameters()) / sum(v.size for v in whole.values()) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize('name, strides, sizes', [
    ('mobilenet_v1_x0_25', (4, 64, 8), [16, 1, 8]),                # any order; the map beyond the coarsest level is thinned out
    ('efficientvit_m0', (2, 8, 16), [32, 8, 4]), ('blazeface_back', (4, 8, 32), [16, 8, 2])])    # finer ones: of the stem
def test_maps_are_chosen_by_stride(name, strides, sizes):
    model = empty(name, features_only=True, out_strides=strides)
    maps = model(paddle.zeros([1, 3, 64, 64]))
    assert model.strides == strides and [m.shape for m in maps] == [[1, c, s, s] for c, s in zip(model.channels, sizes)]


def test_a_stride_beyond_the_network_takes_every_second_pixel(picture):
    coarse, beyond = features(out_strides=[32, 64]).eval()(picture)
    assert (beyond == coarse[:, :, ::2, ::2]).all()


@pytest.mark.parametrize('keywords, words', [
    ({'out_strides': (8, 24)}, r'out_strides is \(8, 24\); wanted some of 2, 4, 8, 16, 32, 64, 128'),
    ({'out_strides': ()}, r'out_strides is \(\); wanted'), ({'out_strides': 8}, 'out_strides is 8; wanted .*as a list'),
    ({'out_strides': (8,), 'out_indices': (1,)}, 'both choose levels; give one of them'),
    ({'frozen_stages': 5}, r'frozen_stages is 5; wanted -1 for none, or .* 0..4'), ({'frozen_stages': -2}, 'is -2; wanted'),
    ({'frozen_stages': True}, 'is True; wanted'), ({'frozen_stages': '1'}, "is '1'; wanted"),
    ({'norm_eval': 'yes'}, "norm_eval is 'yes'; wanted True or False"),
    ({'features_only': False, 'out_strides': (8,)}, r'out_strides \(8,\) without features_only'),
    ({'features_only': False, 'frozen_stages': 0}, 'frozen_stages 0 without features_only'),
    ({'features_only': False, 'norm_eval': True}, 'norm_eval True without features_only')])
def test_what_does_not_choose_maps_is_named(keywords, words):
    with paddle.LazyGuard(), pytest.raises(ic.UserError, match=words):
        ic.create_model('mobilenet_v1_x0_25', **{'features_only': True, **keywords})


@pytest.mark.parametrize('call', [lambda network, x: network(x), lambda network, x: network.forward_features(x),
                                  lambda network, x: network.reset_classifier(5)])
def test_a_network_without_head_says_so(call, picture):
    with pytest.raises(ic.UserError, match='holds no classifier'):
        call(features().network, picture)


def moved(model, picture):
    """{first two words of the name} of all that a training step changes."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    sum((m ** 2).mean() for m in model(picture)).backward()
    optimizer.step()
    after = model.state_dict()
    return {'.'.join(name.split('.')[1:3]) for name in after if (after[name] != before[name]).any()}


def test_frozen_stages_keep_weights_and_statistics(picture):
    model = features(frozen_stages=1)
    nn.Sequential(model).train()                                   # a detector that does not know of it
    assert moved(model, picture) == {'blocks.2', 'blocks.3', 'blocks.4'}
    model.train()
    assert not model.network.blocks[0].training and model.network.blocks[2].training


def test_norms_in_evaluation_keep_their_statistics_and_learn(picture):
    model = features(norm_eval=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    moved(model, picture)
    after = model.state_dict()
    kept = {name.rpartition('.')[2] for name in after if (after[name] == before[name]).all()}
    assert kept == {'_mean', '_variance'}


def test_a_copy_holds_its_own_frozen_layers():
    model = features(frozen_stages=0)
    twin = copy.deepcopy(model).train()
    assert not twin.network.bn1.training and twin.network.bn1 is not model.network.bn1


@pytest.mark.parametrize('style', ['paddle', 'torchvision', 'timm'])
def test_a_file_of_the_whole_network_fits_its_maps(style, tmp_path):
    name = 'mobilenet_v3_small_x0_5'
    whole, maps = ic.create_model(name, num_classes=7), empty(name, features_only=True)
    write_safetensors(tmp_path / 'whole.safetensors', to_torch(whole, style), {})
    ic.load_weights(maps, tmp_path / 'whole.safetensors')
    wanted = whole.state_dict()
    assert all((value == wanted[key]).all() for key, value in maps.network.state_dict().items())
    if style == 'timm':
        assert to_torch(maps, style).keys() < to_torch(whole, style).keys()


def test_what_is_missing_of_the_maps_is_no_head():
    maps = empty('mobilenet_v3_small_x0_5', features_only=True)
    with pytest.raises(ic.UserError, match='12 missing: features.0.0.weight'):
        load_state(maps.network, {key: value for key, value in maps.network.state_dict().items() if '.0.0.w' not in key}, 'it')
