"""What is true of every network. Costly checks run on the smallest variant of each family, on small pictures."""
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.deploy.static import to_static
from image_classification.fuse import reparameterize
from image_classification.layers import FeatureExtractor, set_checkpointing
from tests.networks import empty, outline, outputs, settled

ALL = ic.list_models()
SMALLEST = [name for name in (
    'mobileformer_26m mobileformer_official_26m edgenext_xx_small edgenext_xx_small_bn_hs uniformer_small uniformer_xxs '
    'efficientvit_m0 efficientvit_m0_yolo efficientvit_m0_det mobilenet_v1_x0_25 mobilenet_v2_x0_35 mobilenet_v3_small_x0_5 '
    'mobilenext_x0_35 efficientnet_lite0 shufflenet_v1_g3_x0_5 shufflenet_v2_x0_5 googlenet inception_v2 inception_v3 inception_v4 '
    'fastvit_sa12 ghostnet_v3_x1_0 mobileone_s0 repvit_m0_9 starnet_s050 '
    'inception_resnet_v2 xception ic_resnet50 blazeface blazeface_front blazeface_back mobilenet_v4_conv_small_035 mobilevit_xxs '
    'levit_128s efficientformer_v2_s0 tiny_vit_5m shvit_s1 swiftformer_xs').split() if name in ALL]
# Of a family that is not there, its first: a new family needs no line here.
TYPES = {name: ic.get_config(name).MODEL.TYPE.lower() for name in ALL}
SMALLEST += [next(name for name in ALL if TYPES[name] == family)
             for family in dict.fromkeys(TYPES.values()) if family not in {TYPES[name] for name in SMALLEST}]
FORMS_OF = {family: import_module(f'image_classification.{family}.reparameterize') for family in dict.fromkeys(TYPES.values())
            if find_spec(f'image_classification.{family}.reparameterize')}
CLASSIFIERS = [name for name in SMALLEST if not name.endswith(('_yolo', '_det')) and not name.startswith('blazeface')]
SHALLOW = ('googlenet', 'inception_v3', 'xception')                # each block is an attribute of its own
# Of those that tests/deploy does not export, and that are more than convolutions one after another.
TRACED = ['shufflenet_v1_g3_x0_5', 'googlenet', 'edgenext_xx_small_bn_hs', 'mobileformer_official_26m']
# Blocks that hand on one map, a map with tokens, and a map with tokens and scores.
CHECKPOINTED = ['mobilenet_v3_small_x0_5', 'mobileformer_26m', 'mobileformer_official_26m', 'uniformer_xxs']


# One block of each kind does.
SHORT = {'inception_v2': {'DEPTHS': [1, 1, 1]}, 'inception_v4': {'DEPTHS': [1, 1, 1]},
         'inception_resnet_v2': {'DEPTHS': [1, 1, 1]}, 'xception': {'XCEPTION.MIDDLE_BLOCKS': 1}}
# And a few in stages that something goes through from block to block.
SHORTER = {'uniformer_small': {'UNIFORMER.DEPTHS': [1, 1, 2, 1]}, 'uniformer_xxs': {'UNIFORMER.DEPTHS': [2, 1, 2, 2]},
           'shufflenet_v1_g3_x0_5': {'SHUFFLENET.REPEATS': [2, 2, 1]}, 'shufflenet_v2_x0_5': {'SHUFFLENET.REPEATS': [2, 2, 1]},
           'edgenext_xx_small': {'EDGENEXT.DEPTHS': [1, 2, 2, 2]}, 'edgenext_xx_small_bn_hs': {'EDGENEXT.DEPTHS': [1, 2, 2, 2]},
           'mobileformer_official_26m': {'BLOCK.CHANNELS': [12, 12, 24, 24, 48], 'BLOCK.STRIDES': [2, 1, 2, 1, 2],
                                         'BLOCK.EXPANSIONS': [3, 3, 6, 3, 6]},
           'hgnet_v2_b0': {'HGNET.INNER': [8, 8, 16, 16], 'HGNET.CHANNELS': [16, 32, 64, 128]},
           'efficientvit_mit_b0': {'EFFICIENTVIT.DEPTHS': [1, 1, 1, 1, 1], 'EFFICIENTVIT.HEAD': [64, 64]},
           'levit_128s': {'LEVIT.DEPTHS': [1, 1, 1]}, 'tiny_vit_5m': {'TINYVIT.DEPTHS': [1, 1, 1, 1]},
           'efficientformer_v2_s0': {'EFFICIENTFORMER.DEPTHS': [1, 1, 2, 1], 'EFFICIENTFORMER.ATTENTIONS': 1,
                                     'EFFICIENTFORMER.RATIOS': [4] * 5},
           'shvit_s1': {'SHVIT.DEPTHS': [1, 1, 1]}, 'swiftformer_xs': {'SWIFTFORMER.DEPTHS': [2, 1, 1, 1]},
           'fastvit_sa12': {'FASTVIT.DIMS': [16, 32, 64, 64], 'FASTVIT.DEPTHS': [1, 1, 2, 1]},
           'ghostnet_v3_x1_0': {'WIDTH': 0.25},
           'mobileone_s0': {'MOBILEONE.WIDTHS': [0.25, 0.25, 0.5, 1.0], 'MOBILEONE.BRANCHES': 2},
           'repvit_m0_9': {'REPVIT.DEPTHS': [1, 1, 2, 1]},
           **{f'efficientvit_m0{kind}': {'EFFICIENTVIT.DEPTHS': [1, 1, 2]} for kind in ('', '_yolo', '_det')}, **SHORT}


def side(name):
    """Pixels on a side of a small picture, which leaves the last norms of a training more than a single one."""
    return 139 if name.startswith('inception') else 64


def small(name, **keys):
    """A network of four classes that is configured for small pictures."""
    keys = {f'MODEL.{key}': value for key, value in {'NUM_CLASSES': 4, **SHORTER.get(name, {}), **keys}.items()}
    return ic.create_model(ic.get_config(name, {'DATA.IMAGE_SIZE': side(name), **keys}))


@pytest.fixture(scope='module')
def network(request):
    """Built once for the tests of its name."""
    return settled(small(request.param))


every_network = pytest.mark.parametrize('network', SMALLEST, indirect=True)
every_classifier = pytest.mark.parametrize('network', CLASSIFIERS, indirect=True)


def images(model, batch=2):
    size = model.config.DATA.IMAGE_SIZE
    return paddle.randn([batch, 3, size, size])


def test_lists_models_by_a_pattern():
    assert ic.list_models('mobileformer_*m') == sorted(
        name for name in ALL if name.startswith('mobileformer_'))
    assert ic.list_models('nothing*') == []


@pytest.mark.parametrize('name', ALL)
def test_every_yaml_bears_its_models_name(name):
    assert ic.get_config(name).MODEL.NAME == name


# Of each family one more; the rest, which has the same blocks, in the long run.
OTHERS = [name for name in ALL if name not in SMALLEST]
ONE_MORE = {**{TYPES[name]: name for name in OTHERS}, 'efficientvit_mit': 'efficientvit_mit_b1',
            'hgnet_v2': 'hgnet_v2_b1'}.values()


@pytest.mark.parametrize('name', [name if name in ONE_MORE else pytest.param(name, marks=pytest.mark.slow) for name in OTHERS])
def test_every_other_variant_gives_the_announced_maps(name):
    """All: python -m pytest -m slow tests/test_models.py"""
    network = empty(name)
    with paddle.no_grad():
        maps = network.forward_intermediates(paddle.zeros([1, 3, side(name), side(name)]))
    assert [m.shape[1] for m in maps] == list(network.feature_channels)


@every_network
def test_feature_maps_have_the_announced_channels_and_strides(network):
    features, x = FeatureExtractor(network), images(network, 1)
    with paddle.no_grad():
        maps = features(x)
    assert [m.shape[1] for m in maps] == list(features.channels)
    assert list(features.strides) == sorted(set(features.strides))
    for m, stride in zip(maps, features.strides):                  # valid convolutions lose some pixels at the border
        assert x.shape[-1] / stride - 4 <= m.shape[-1] <= -(-x.shape[-1] // stride)


def check_layers_of_map(network, last):
    """Of all parameters, those get a gradient from this map that `feature_layers` names up to it."""
    learning = {name: parameter for name, parameter in network.named_parameters() if not parameter.stop_gradient}
    FeatureExtractor(network, [last])(images(network, 1))[0].sum().backward()
    levels = network.feature_layers[:last % len(network.feature_strides) + 1]
    needed = tuple(f'{name}.' for level in levels for name in level)
    found = {name for name, parameter in learning.items() if parameter.grad is not None}
    for parameter in learning.values():
        parameter.clear_gradient(False)
    assert found == {name for name in learning if f'{name}.'.startswith(needed)}


@every_network
def test_feature_layers_are_those_that_the_maps_need_and_the_head_is_the_rest(network):
    check_layers_of_map(network, -1)


@pytest.mark.slow
@every_network
def test_feature_layers_stand_with_the_level_that_needs_them_first(network):
    """python -m pytest -m slow tests/test_models.py"""
    for last in range(len(network.feature_strides) - 1):
        check_layers_of_map(network, last)


@pytest.mark.parametrize('name', SMALLEST)
def test_every_network_gives_maps_of_strides_8_16_32(name):
    features = FeatureExtractor(outline(name), out_strides=(8, 16, 32))
    assert [spec.stride for spec in features.out_shape] == [8, 16, 32] == list(features.strides)
    assert [spec.channels for spec in features.out_shape] == features.feat_channels == list(features.channels)


@every_classifier
def test_gives_one_row_of_logits_per_image_whatever_the_batch_mates(network):
    x = images(network, 3)
    with paddle.no_grad():
        together, alone = network(x), network(x[1:2])
    assert together.shape == [3, 4]
    np.testing.assert_allclose(together[1:2].numpy(), alone.numpy(), atol=1e-3 * float(together.std()))


@pytest.mark.parametrize('network', [name for name in CLASSIFIERS if hasattr(FORMS_OF.get(TYPES[name]), 'PHONE')], indirect=True)
def test_forms_for_phones_agree_with_the_network(network):
    if hasattr(network, 'cls_token'):                              # untrained, it scores all tokens alike, and any may be kept
        network.cls_token.set_value(paddle.randn(network.cls_token.shape))
    ready, x = reparameterize(network, phone=True), images(network, 1)
    with paddle.no_grad():
        wanted, found = network(x), ready(x)
    assert (abs(found - wanted).max() < 1e-4 * wanted.std()).item()


@every_network
def test_a_fused_network_agrees_with_the_network(network):
    fused, x = ic.fuse(network), images(network, 1)
    with paddle.no_grad():
        pairs = zip(outputs(network(x)), outputs(fused(x)))
    for plain, folded in pairs:
        assert abs(plain - folded).max().item() <= 1e-4 * plain.std().item()
    assert sum(isinstance(layer, nn.BatchNorm2D) for layer in fused.sublayers()) <= sum(
        isinstance(layer, nn.BatchNorm2D) for layer in network.sublayers())


def assert_trace_agrees(network, traced, *shapes):
    for shape in shapes:
        x = paddle.randn(shape)
        with paddle.no_grad():
            pairs = zip(outputs(network(x)), outputs(traced(x)), strict=True)
        for plain, found in pairs:
            assert abs(plain - found).max().item() <= 1e-3 * plain.std().item()


class AsItRuns(nn.Layer):
    """Of a known size, nothing of a network's Python needs to be translated, which would take most of the time."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    @paddle.jit.not_to_static
    def forward(self, image):
        return self.network(image)


@pytest.mark.parametrize('network', TRACED, indirect=True)
def test_its_trace_takes_any_batch(network):
    size = network.config.DATA.IMAGE_SIZE
    spec = paddle.static.InputSpec([-1, 3, size, size], 'float32', 'image')
    traced = paddle.jit.to_static(AsItRuns(network), input_spec=[spec], full_graph=True)
    assert_trace_agrees(network, traced, [1, 3, size, size], [3, 3, size, size])


@pytest.mark.slow
@every_network
def test_its_trace_for_export_takes_any_batch_and_size(network):
    """PYTHONPATH=. python -m pytest -m slow tests/test_models.py"""
    size = network.config.DATA.IMAGE_SIZE
    assert_trace_agrees(network, to_static(network, [-1, 3, -1, -1]), [1, 3, size, size], [3, 3, size, size + 32])


@every_classifier
def test_the_head_follows_the_features_and_can_be_replaced(network):
    x = images(network, 1)
    with paddle.no_grad():
        assert (network.forward_head(network.forward_features(x)) == network(x)).all()
        network.reset_classifier(7)
        assert network(x).shape == [1, 7]
        network.reset_classifier(4)
    assert any(key.startswith(network.classifier_layers[0]) for key in network.state_dict())


# The long run has the largest ones, too, whose blocks are those of the others.
LARGE = ('inception_v2', 'inception_v3', 'inception_v4', 'inception_resnet_v2', 'uniformer_small', 'xception', 'ic_resnet50')


@pytest.mark.parametrize('name', [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in SMALLEST])
def test_each_parameter_gets_a_gradient_and_two_steps_lower_the_loss(name):
    paddle.seed(0)
    model = small(name, DROPOUT=0.0)
    optimizer = paddle.optimizer.AdamW(3e-4, parameters=model.parameters())
    x, y, losses = images(model, 4), paddle.arange(4), []
    for step in range(3):
        found = outputs(model(x))
        loss = sum(nn.functional.cross_entropy(logits, y) if model.classifier_layers else logits.square().mean()
                   for logits in found)
        losses.append(loss.item())
        loss.backward()
        if step == 0:
            assert [key for key, p in model.named_parameters() if not p.stop_gradient and p.grad is None] == []
        optimizer.step()
        optimizer.clear_grad()
    assert losses[2] < losses[0]


@pytest.mark.parametrize('name', CHECKPOINTED)
def test_gradient_checkpoints_change_nothing_but_memory(name):
    results = []
    for checkpointing in (False, True):
        paddle.seed(0)
        model = small(name, GRAD_CHECKPOINTING=checkpointing)
        sum(output.sum() for output in outputs(model(images(model)))).backward()
        results.append([p.grad for p in model.parameters() if not p.stop_gradient] + list(model.state_dict().values()))
    assert all((plain == saving).all() for plain, saving in zip(*results))


@pytest.mark.parametrize('name', SMALLEST)
def test_every_network_of_stages_can_save_memory(name):
    network = outline(name)
    if name in SHALLOW:
        with pytest.raises(ic.UserError, match='has no deep stage'):
            set_checkpointing(network)
    else:
        set_checkpointing(network)
        set_checkpointing(network, False)


@pytest.mark.parametrize('name', SMALLEST)
def test_takes_drop_rates_and_other_numbers_of_input_channels(name):
    with paddle.LazyGuard():
        model = ic.create_model(name, in_chans=4, drop_rate=0.2, drop_path_rate=0.1)
    assert (model.config.MODEL.DROPOUT, model.config.MODEL.DROPPATH) == (0.2, 0.1)
    usual = outline(name).state_dict()
    changed = [tensor.shape for key, tensor in model.state_dict().items() if tensor.shape != usual[key].shape]
    assert changed and all(shape[1] == 4 for shape in changed)     # several, where the first convolution trains as branches


@pytest.mark.parametrize('channels', [1, 4])
def test_grey_pictures_and_pictures_of_four_channels_are_taken(channels):
    assert small('mobileformer_26m', IN_CHANNELS=channels)(paddle.randn([2, channels, 64, 64])).shape == [2, 4]


@pytest.mark.parametrize('name', SMALLEST)
def test_names_of_parameters_without_decay_exist(name):
    assert outline(name).no_weight_decay() <= {key for key, _ in outline(name).named_parameters()}


def test_keywords_mean_keys_of_the_model():
    model = ic.create_model('mobileformer_26m', in_chans=1, drop_path=0.25, drop_rate=0.5, num_classes=3).config.MODEL
    assert (model.IN_CHANNELS, model.DROPPATH, model.DROPOUT, model.NUM_CLASSES) == (1, 0.25, 0.5, 3)


def test_a_misspelled_keyword_is_answered_with_the_nearest():
    with pytest.raises(ic.UserError, match="'num_clases'; the nearest is 'num_classes'"):
        ic.create_model('mobileformer_26m', num_clases=3)


WHOLE = 'wanted a whole number from 1 to'
NAMES = 'wanted one of image_classification.list_models'


@pytest.mark.parametrize('arguments, words', [
    ({'num_classes': 0}, 'create_model got num_classes 0, which would leave no classifier; .*forward_features.*features_only'),
    ({'num_classes': np.int64(0)}, 'got num_classes 0, which would leave no classifier'),
    ({'num_classes': -1}, f'create_model got num_classes -1; {WHOLE} 1000000'), ({'num_classes': 10 ** 9}, WHOLE),
    ({'num_classes': True}, f'got num_classes True; {WHOLE}'), ({'num_classes': '5'}, f"got num_classes '5'; {WHOLE}"),
    ({'num_classes': 2.0}, WHOLE), ({'num_classes': None}, WHOLE), ({'num_classes': [5]}, WHOLE),
    ({'num_classes': 'x' * 999}, WHOLE),
    ({'in_chans': 0}, f'create_model got in_chans 0; {WHOLE} 4096'), ({'in_chans': -3}, f'got in_chans -3; {WHOLE}'),
    ({'in_channels': 1.5}, f'got in_channels 1.5; {WHOLE}'), ({'in_chans': False}, WHOLE), ({'in_chans': float('nan')}, WHOLE),
    ({'out_indices': (1,)}, r'out_indices \(1,\) without features_only'),
    ({'pretrained': 5}, 'got pretrained 5; wanted True, a tag'), ({'pretrained': ['a']}, 'got pretrained'),
    ({'pretrained': {'a': 1}}, 'A state dict goes to weights.from_torch'),
    ({'name': ''}, f"got the name ''; {NAMES}"), ({'name': None}, NAMES), ({'name': {}}, NAMES), ({'name': 5}, NAMES)])
def test_values_that_make_no_network_are_named_with_what_is_wanted(arguments, words):
    with pytest.raises(ic.UserError, match=words) as caught:
        ic.create_model(**{'name': 'mobilenet_v1_x0_25', **arguments})
    assert len(str(caught.value)) < 400


def test_numbers_of_numpy_are_numbers():
    with paddle.LazyGuard():
        model = ic.create_model('mobileformer_26m', num_classes=np.int64(7), in_chans=np.uint8(1), drop_path=np.float32(0.5),
                                tokens=np.array([3, 128])).config.MODEL
    assert (model.NUM_CLASSES, model.IN_CHANNELS, model.DROPPATH, list(model.MF.TOKENS)) == (7, 1, 0.5, [3, 128])


@pytest.mark.parametrize('count', [0, -1, '5', 2.5, None, True, 10 ** 9, np.float32(2), [5]])
def test_a_classifier_has_a_whole_number_of_classes(count):
    for name in ('mobilenet_v2_x0_35', 'edgenext_xx_small', 'blazeface'):      # by their blocks' list, on their own, with none
        network = outline(name)
        before = list(network.state_dict())
        with pytest.raises(ic.UserError, match='reset_classifier got .*; wanted a whole number from 1'):
            network.reset_classifier(count)
        assert list(network.state_dict()) == before


@pytest.mark.parametrize('levels', [3, 'ab', (1.5,), '', (), [True], [None], (5,), (-6,), {1: 'a', 'b': 2}, [10 ** 9],
                                    float('nan'), 'x' * 999])
def test_levels_that_are_none_are_named_with_those_that_are(levels):
    with pytest.raises(ic.UserError, match=r'out_indices is .*; wanted some of 0..4, the 5 levels of .*, as a list') as caught:
        FeatureExtractor(outline('mobilenet_v1_x0_25'), levels)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize('levels, wanted', [
    ([1, 2], (1, 2)), (np.array([0, -1]), (0, 4)), (range(3), (0, 1, 2)), ([np.int8(-2)], (3,)), (iter([1]), (1,)),
    (None, (0, 1, 2, 3, 4))])
def test_any_row_of_whole_numbers_names_levels(levels, wanted):
    assert FeatureExtractor(outline('mobilenet_v1_x0_25'), levels).out_indices == wanted


def test_a_configuration_is_taken_as_it_is():
    cfg = ic.get_config('mobileformer_26m', {'MODEL.NUM_CLASSES': 3})
    assert ic.create_model(cfg).config is cfg
    with pytest.raises(ic.UserError, match='not both'):
        ic.create_model(cfg, num_classes=4)
