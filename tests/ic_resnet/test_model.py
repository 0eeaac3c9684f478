import json

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.ic_resnet import read_pattern
from image_classification.ic_resnet.model import ICConv2d
from image_classification.ic_resnet.patterns import load_pattern
from image_classification.layers import FeatureExtractor
from tests.golden import Recording
from tests.networks import empty, outline


@pytest.fixture(scope='module')
def recorded_pattern():
    return [[tuple(branch) for branch in layer] for layer in Recording('ic_resnet50_det_k9').meta['pattern']]


def published(pattern):
    """The pattern in the authors' format, with an entry for a dilation that has no branch."""
    return [{'(7, 7)': 0, **{f'({h - 1}, {w - 1})': channels for h, w, channels in layer}} for layer in pattern]


@pytest.mark.parametrize('name, count', [('ic_resnet50', 25_557_032), ('ic_resnet50_k13', 25_557_032),
                                         ('ic_resnet101', 44_549_160)])
def test_has_as_many_parameters_as_the_plain_resnet(name, count):
    assert count_parameters(outline(name)) == count


@pytest.mark.parametrize('name, convolutions, dilation', [('ic_resnet50', 16, 4), ('ic_resnet50_k13', 16, 6),
                                                          ('ic_resnet101', 33, 4)])
def test_patterns_reach_the_dilations_of_their_search(name, convolutions, dilation):
    pattern = load_pattern(name)
    assert len(pattern) == convolutions
    assert max(max(h, w) for layer in pattern for h, w, _ in layer) == dilation


def test_the_pattern_of_ic_resnet50_is_the_recorded_one(recorded_pattern):
    assert load_pattern('ic_resnet50') == recorded_pattern


def test_a_published_json_file_makes_the_same_network(recorded_pattern, tmp_path):
    path = tmp_path / 'pattern.json'
    path.write_text(json.dumps(published(recorded_pattern)))
    assert read_pattern(path) == recorded_pattern
    with paddle.LazyGuard():
        model = ic.create_model(ic.get_config('ic_resnet50', {'MODEL.IC.PATTERN': str(path)}))
    named = outline('ic_resnet50')
    assert [(k, v.shape) for k, v in model.state_dict().items()] == [(k, v.shape) for k, v in named.state_dict().items()]


def test_branches_stay_in_the_order_of_the_file(tmp_path):
    path = tmp_path / 'pattern.json'
    path.write_text('[{"(1, 0)": 3, "(0, 0)": 2, "(0,2)": 4}]')
    assert read_pattern(path) == [[(2, 1, 3), (1, 1, 2), (1, 3, 4)]]


def test_a_branch_sees_pixels_as_far_away_as_its_dilation():
    conv = ICConv2d(1, [(1, 1, 1), (2, 3, 1)], stride=2)
    for branch in conv.conv_list:
        branch.weight.set_value(paddle.ones_like(branch.weight))
    image = np.zeros((1, 1, 9, 9), 'float32')
    image[0, 0, 4, 4] = 1.0
    seen = conv(paddle.to_tensor(image)).numpy()[0]                # output (i, j) is centred on pixel (2i, 2j)
    assert np.argwhere(seen[0]).tolist() == [[2, 2]]
    assert np.argwhere(seen[1]).tolist() == [[1, 2], [2, 2], [3, 2]]


@pytest.mark.parametrize('text, words', [
    ('{', 'no json'), ('{"(0, 0)": 64}', 'wanted a list of objects'), ('[{"0": 64}]', '"0": 64; wanted'),
    ('[{"(0, 0)": -1}]', ': -1; wanted'), ('[{"(0, 0)": "64"}]', '"64"; wanted')])
def test_a_file_of_another_format_is_refused(text, words, tmp_path):
    path = tmp_path / 'pattern.json'
    path.write_text(text)
    with pytest.raises(ic.UserError, match=words):
        read_pattern(path)


@pytest.mark.parametrize('changes, words', [
    ({'PATTERN': 'nothing'}, "'nothing'; wanted one of ic_resnet50"), ({'PATTERN': 'nothing.json'}, 'no dilation pattern at'),
    ({'PATTERN': 'ic_resnet101'}, 'has 33 convolutions; .* asks for 16'), ({'DEPTHS': [3, 4, 6]}, 'wanted 4 stages'),
    ({'DEPTHS': [4, 3, 6, 3]}, 'gives 128 channels to convolution 3; wanted 64')])
def test_a_pattern_that_does_not_fit_is_refused(changes, words):
    with pytest.raises(ic.UserError, match=words):
        ic.create_model(ic.get_config('ic_resnet50', {f'MODEL.IC.{key}': value for key, value in changes.items()}))


def test_maps_have_the_strides_of_a_resnet():
    model = FeatureExtractor(empty('ic_resnet50'))
    with paddle.no_grad():
        maps = model(paddle.rand((1, 3, 70, 33)))                  # a size that 32 does not divide
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 35, 17), (256, 18, 9), (512, 9, 5), (1024, 5, 3), (2048, 3, 2)]


def test_drop_path_grows_from_block_to_block():
    with paddle.LazyGuard():
        model = ic.create_model('ic_resnet50', drop_path_rate=0.3, drop_rate=0.5)
    rates = [block.drop_path.p for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage]
    assert rates == pytest.approx([0.02 * i for i in range(16)])
    assert model.dropout.p == 0.5
