import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.deploy.complexity import count_parameters
from image_classification.layers import ChannelGates
from image_classification.repvit.model import RepVggDw
from image_classification.weights import from_torch, to_torch
from tests.networks import empty, outline, settled

PARAMETERS = {'m0_9': 5_489_328, 'm1_5': 14_644_432}   # of timm's networks; docs/networks.md has the others'


def shallow(**keys):
    keys = {'REPVIT.DIMS': [8, 16], 'REPVIT.DEPTHS': [2, 1], 'NUM_CLASSES': 5, **keys}
    return ic.create_model(ic.get_config('repvit_m0_9', {'DATA.IMAGE_SIZE': 32, **{f'MODEL.{key}': value for key, value in
                                                                                 keys.items()}}))


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_published_parameters(variant):
    assert count_parameters(outline(f'repvit_{variant}')) == PARAMETERS[variant]


def test_every_second_block_has_gates_and_none_in_front_of_a_downsampling():
    model = outline('repvit_m0_9')
    for stage in model.stages:
        assert [isinstance(block.se, ChannelGates) for block in stage.blocks] == [i % 2 == 0 for i in range(len(stage.blocks))]
    assert all(isinstance(stage.downsample.pre_block.se, nn.Identity) for stage in model.stages[1:])


def test_training_gives_the_mean_of_both_classifiers_or_on_request_both():
    model, features = shallow(), paddle.rand([2, 16, 4, 4])
    logits = model.forward_head(features)
    model.distilled_training = True
    of_labels, of_teacher = model.forward_head(features)
    assert paddle.allclose(logits, (of_labels + of_teacher) / 2, atol=1e-6) and not paddle.allclose(of_labels, of_teacher)
    model.eval()
    assert model.forward_head(features).shape == [2, 5]


def test_without_distillation_there_is_one_classifier():
    model = shallow(**{'REPVIT.DISTILLATION': False})
    assert not any('head_dist' in key for key in model.state_dict())
    model.distilled_training = True
    assert model(paddle.rand([2, 3, 32, 32])).shape == [2, 5]


def test_fused_each_token_mixer_is_one_convolution_and_the_classifiers_are_one():
    model, x = settled(shallow()), paddle.randn([2, 3, 32, 48])
    fused = ic.fuse(model)
    assert ((fused(x) - model(x)).abs().max() <= 1e-4 * model(x).std()).item()
    assert not [layer for layer in fused.sublayers() if isinstance(layer, (nn.BatchNorm2D, nn.BatchNorm1D))]
    mixers = [layer for layer in fused.sublayers() if isinstance(layer, RepVggDw)]
    assert len(mixers) == 4 and all([type(child) for child in mixer.sublayers()] == [nn.Conv2D] for mixer in mixers)
    assert count_parameters(fused) < count_parameters(model)
    assert len(fused.head.sublayers()) == 1 and model.head.head_dist is not None


def test_the_authors_names_are_those_of_their_layers():
    keys = set(to_torch(empty('repvit_m0_9'), 'official'))
    assert {'features.0.2.c.weight', 'features.1.token_mixer.0.conv1.bias', 'features.1.token_mixer.1.fc2.weight',
            'features.3.token_mixer.0.bn.running_var', 'features.4.token_mixer.0.c.weight', 'features.4.token_mixer.2.bn.bias',
            'features.4.channel_mixer.m.2.c.weight', 'features.26.channel_mixer.m.0.bn.weight',
            'classifier.classifier_dist.l.weight'} <= keys
    assert not any(key.startswith('features.27.') for key in keys)


def test_the_authors_weights_are_found_by_their_names():
    model = shallow()
    before = {key: value.numpy() for key, value in model.state_dict().items()}
    state = from_torch(shallow(), to_torch(model, 'official'), 'official')
    assert all((state[key] == value).all() for key, value in before.items())


def test_stochastic_depth_grows_from_block_to_block():
    model = shallow(DROPPATH=0.2)
    assert [block.channel_mixer.drop_path.p for stage in model.stages for block in stage.blocks] == pytest.approx([0, 0.1, 0.2])


def test_a_block_begins_as_its_token_mixer():
    block, x = ic.create_model('repvit_m0_9', num_classes=2).stages[0].blocks[1].eval(), paddle.rand([1, 48, 4, 4])
    assert paddle.allclose(block(x), block.token_mixer(x))


@pytest.mark.parametrize('keys, words', [({'REPVIT.DEPTHS': [2, 2, 2]}, 'DIMS has 2 values, DEPTHS 3'),
                                         ({'REPVIT.DIMS': [8, 8]}, r'DIMS is \[8, 8\]; wanted different channels')])
def test_parts_that_do_not_fit_are_named(keys, words):
    with pytest.raises(ic.UserError, match=words):
        shallow(**keys)
