"""Published weights: what the yamls say of them, and the key styles against recorded lists of publishers' keys."""
import functools
import gzip
import json
import re
import warnings
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

import image_classification as ic
from image_classification.weights import key_styles
from image_classification.weights.catalogue import find_entry
from image_classification.weights import from_torch, load_state, to_torch
from tests.golden import Recording, our_name, recordings
from tests.networks import empty, outline

DATA = Path(__file__).parent / 'data' / 'published_keys'           # {key: shape} of each state dict, by publisher and model
PEERS = yaml.safe_load((Path(__file__).parents[1] / 'tools' / 'benchmarking' / 'peers.yaml').read_text(encoding='utf-8'))
TIMM = {name: peers['timm'] for name, peers in PEERS.items() if 'timm' in peers}   # its names of our variants
RECORDED = ('timm', 'torchvision', 'ml_illustrated', 'paddleclas', 'paddle_vision')   # publishers whose keys are in DATA
ENTRIES = [(name, entry) for name in ic.list_models() for entry in ic.get_config(name).PUBLISHED.WEIGHTS
           if 'FILE' not in entry]                                 # our own: tests/weights/test_own_checkpoints.py


def theirs(name, style):
    """timm's or torchvision's name of a variant; others use ours."""
    if style == 'timm':
        return TIMM.get(name, name)
    if style.startswith('paddle'):
        return name                                                # tools/maintenance/compare_paddle.py --record
    return re.sub('_x1_0$', '', name) if 'mobilenet' in name else name


def recorded(name, style):
    """{published key: shape} of a publisher's network of this variant; None where there is no recording."""
    path = DATA / f'{style}_{theirs(name, style)}.json.gz'
    return json.loads(gzip.decompress(path.read_bytes())) if path.is_file() else None


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {key: rng.uniform(0.5, 1.5, shape).astype(np.float32) for key, shape in shapes.items()}


def zeros(shapes):
    return {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}


def state_of(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def assert_same(state, wanted, tolerance=0.0):
    assert list(state) == list(wanted)
    for key, value in wanted.items():
        np.testing.assert_allclose(state[key], value, rtol=tolerance, err_msg=key)


def message(function, *args):
    with pytest.raises(ic.UserError) as caught:
        function(*args)
    return str(caught.value)


# What the yamls say.

@pytest.mark.parametrize('name, entry', [pytest.param(*item, id=f'{item[0]}.{item[1]["TAG"]}') for item in ENTRIES])
def test_an_entry_says_all_that_loading_needs(name, entry):
    assert find_entry(ic.get_config(name).PUBLISHED.WEIGHTS, entry['TAG'], name) == entry
    assert re.fullmatch('[a-z0-9_]+', entry['TAG'])
    if 'TOP1' in entry:                                            # none is published for detectors
        assert 50 < entry['TOP1'] < 90 and {'CROP_PCT', 'INTERPOLATION'} <= set(entry['DATA'])
    ic.get_config(name, {f'DATA.{key}': value for key, value in entry['DATA'].items()})
    url, digest = entry.get('URL', ''), entry.get('SHA256', '')
    assert entry.get('MANUAL', False) == ('drive.google.com' in url or '1drv.ms' in url)
    if 'PACKAGE' in entry:
        assert re.fullmatch('[a-z0-9-]+', entry['PACKAGE']) and len(digest) == 64
    else:
        assert re.fullmatch(r'https://\S+', url)
        assert entry.get('MANUAL') or re.search(r'\.(safetensors|pth|pt|pth\.tar|pdparams)$', url)
    # Of 64 digits, or as many as the file's name begins with.
    assert re.fullmatch('[0-9a-f]*', digest) and (digest in url or len(digest) == 64)


@pytest.mark.parametrize('name', sorted({name for name, _ in ENTRIES}))
def test_tags_of_a_variant_differ(name):
    tags = [entry['TAG'] for other, entry in ENTRIES if other == name]
    assert len(tags) == len(set(tags))


def test_the_protocol_keeps_the_resize_of_torchvision():
    for name, entry in ENTRIES:
        if entry['STYLE'] == 'torchvision':
            side = ic.get_config(name).DATA.IMAGE_SIZE
            assert int(side / entry['DATA']['CROP_PCT']) in {224: (232, 256), 299: (342,)}[side]


# Every variant, in every style.

# What differs in how names are written: tables of names, optional parts, entries that follow from the architecture, plain names.
WRITTEN = ['edgenext_xx_small', 'edgenext_xx_small_bn_hs', 'efficientvit_m0', 'efficientvit_m0_det', 'mobilenet_v2_x0_35',
           'mobilenet_v3_small_x0_5', 'mobilenet_v3_large_x0_75', 'googlenet', 'blazeface_front', 'mobileformer_26m',
           'mobileformer_official_26m', 'efficientnet_lite0', 'uniformer_xxs', 'mobilenet_v1_x0_25', 'shufflenet_v2_x0_5',
           'lcnet_x0_25', 'hgnet_v2_b0', 'mobilevit_xxs', 'mobilevit_v2_x0_5', 'efficientvit_mit_b0']
OF_AUTHORS = {other: our_name(other) for other in recordings() if Recording(other).meta.get('framework') != 'paddle'}
KNOWN = [name for name in ic.list_models()
         if name in OF_AUTHORS.values() or any(recorded(name, style) for style in RECORDED)]


@pytest.fixture(scope='module', params=WRITTEN)
def written(request):
    return ic.create_model(request.param)


# Of a family whose names one variant shows, the others are for the long run, as are those of Paddle's programs alone:
# python -m pytest -m slow tests/test_published.py
BEFORE = [name for name in KNOWN if name in OF_AUTHORS.values() or any(recorded(name, style) for style in RECORDED[:3])]
FIRST = {**{ic.get_config(name).MODEL.TYPE: name for name in reversed(BEFORE)},
         'mobilenet_v4': 'mobilenet_v4_conv_small_035'}.values()
SHOWN = [name if name in FIRST or name in WRITTEN and name in BEFORE else pytest.param(name, marks=pytest.mark.slow)
         for name in KNOWN]


@pytest.fixture(scope='module', params=SHOWN)
def variant(request):
    """(name, network), built once for the tests of a variant."""
    return request.param, empty(request.param)


@functools.lru_cache(maxsize=None)
def styles_of(family):
    """Names of the styles of a family's first variant; the others' are the same."""
    name = next(name for name in ic.list_models() if ic.get_config(name).MODEL.TYPE == family)
    return set(key_styles.styles(outline(name)))


@pytest.mark.parametrize('name', sorted({name for name, _ in ENTRIES}))
def test_the_style_of_each_entry_is_known(name):
    found = {entry['STYLE'] for other, entry in ENTRIES if other == name}
    assert found <= styles_of(ic.get_config(name).MODEL.TYPE)
    assert all(recorded(name, style) for style in found & set(RECORDED)), 'record the keys'


def as_wanted(model, style):
    """The network that weights of this style are for: the model itself, or the one that other keys of MODEL make."""
    keys = dict(key_styles.styles(model)[style].network) if style else {}
    same = all(model.config.MODEL[key] == value for key, value in keys.items())
    return model if same else ic.create_model(model.config.MODEL.NAME, **{key.lower(): value for key, value in keys.items()})


@pytest.mark.filterwarnings('ignore:the weights lack AuxLogits')
def test_writing_and_reading_back_is_the_identity(written):
    for name, style in {'': key_styles.Style(), **key_styles.styles(written)}.items():
        model = as_wanted(written, name)
        tolerance = 1e-6 if style.epsilon or style.factors else 0.0                    # rescaled and back
        assert_same(from_torch(model, to_torch(model, name), name), state_of(model), tolerance)


def test_a_publishers_keys_and_shapes_are_ours(variant):
    name, usual = variant
    for style in RECORDED:
        shapes = recorded(name, style)
        if shapes:
            model = as_wanted(usual, style)
            state = zeros(shapes)
            assert key_styles.published_names(model, style) == key_styles.published_names(
                model, key_styles.detect_style(model, state))
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')                    # of auxiliary heads that timm leaves out
                from_torch(model, state, style)
            written = to_torch(model, style)
            assert {key: list(value.shape) for key, value in written.items() if key in shapes} == {
                key: shape for key, shape in shapes.items() if not key.endswith('num_batches_tracked')}


def test_the_authors_keys_and_shapes_are_written(variant):
    name, model = variant
    for recording in (Recording(other) for other, ours in OF_AUTHORS.items() if ours == name):
        wanted = {key: shape for key, shape, *_ in recording.meta['keys'] if not key.endswith('num_batches_tracked')}
        state = to_torch(model, recording.meta.get('style', ''))
        assert {key: list(value.shape) for key, value in state.items()} == wanted
        for (key, *_), total in zip(recording.meta['keys'], recording.arrays['key_sum']):
            if key.endswith('attention_bias_idxs'):
                assert state[key].sum() == total


def test_a_file_of_this_library_is_told_from_a_published_one(written):
    own = state_of(written)
    for file in (own, to_torch(written)):
        assert_same(from_torch(written, file, key_styles.detect_style(written, file)), own)
    assert key_styles.detect_style(written, {'nothing': np.zeros(3)}) == next(iter(key_styles.styles(written)), '')


# Conventions besides the names.

@pytest.fixture(scope='module')
def mobilenet():
    return ic.create_model('mobilenet_v3_small_x1_0').eval()


def test_batch_norms_of_another_epsilon_compute_what_they_did(mobilenet):
    published = drawn(recorded('mobilenet_v3_small_x1_0', 'timm'))
    published['bn1.running_var'] *= 1e-4                           # so that the epsilon matters
    state = from_torch(mobilenet, published, 'timm')
    wanted = published['bn1.weight'] / np.sqrt(published['bn1.running_var'] + 1e-5)
    found = state['features.0.1.weight'] / np.sqrt(state['features.0.1._variance'] + 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    back = to_torch(load_and_return(mobilenet, state), 'timm')
    np.testing.assert_allclose(back['bn1.weight'], published['bn1.weight'], rtol=1e-6)


def load_and_return(model, state):
    load_state(model, state, 'drawn weights')
    return model


def test_keys_of_another_style_are_not_taken_for_ours(mobilenet):
    published = drawn(recorded('mobilenet_v3_small_x1_0', 'torchvision'))
    assert "unexpected: 'features.0.0.weight'" in message(from_torch, mobilenet, published, 'timm')


def test_an_unknown_style_is_refused_with_the_known_ones(mobilenet):
    assert 'wanted one of torchvision, timm, paddle' in message(from_torch, mobilenet, {}, 'keras')


def test_the_prefix_of_parallel_training_goes(mobilenet):
    published = drawn(recorded('mobilenet_v3_small_x1_0', 'timm'))
    wrapped = {f'module.{key}': value for key, value in published.items()}
    assert key_styles.detect_style(mobilenet, wrapped) == 'timm'
    with pytest.warns(UserWarning, match=r'taken from module.\*'):
        assert_same(from_torch(mobilenet, wrapped, 'timm'), from_torch(mobilenet, published, 'timm'))


def test_an_absent_auxiliary_head_keeps_its_own_weights_and_says_so():
    model = empty('inception_v3')
    with pytest.warns(UserWarning, match='AuxLogits'):
        state = from_torch(model, zeros(recorded('inception_v3', 'timm')), 'timm')
    np.testing.assert_array_equal(state['AuxLogits.fc.bias'], model.AuxLogits.fc.bias.numpy())


def test_half_an_auxiliary_head_is_refused():
    published = zeros(recorded('inception_v3', 'torchvision'))
    del published['AuxLogits.fc.bias']
    assert '1 missing: AuxLogits.fc.bias' in message(from_torch, outline('inception_v3'), published)


@pytest.mark.filterwarnings('error')
def test_an_auxiliary_head_that_the_network_lacks_goes():
    model = empty('googlenet', aux_logits=False)
    assert list(from_torch(model, zeros(recorded('googlenet', 'torchvision')))) == list(model.state_dict())


# The first convolution.

def test_one_channel_answers_a_grey_picture_as_three_do():
    weight, grey = paddle.randn([8, 3, 3, 3]), paddle.randn([2, 1, 9, 9])
    one = paddle.to_tensor(key_styles.adapt_input(weight.numpy(), 1))
    conv2d = paddle.nn.functional.conv2d
    np.testing.assert_allclose(conv2d(grey, one).numpy(), conv2d(grey.expand([-1, 3, -1, -1]), weight).numpy(), atol=1e-5)


def test_more_channels_take_the_weights_in_turn_at_the_same_scale():
    weight = np.arange(3, dtype=np.float32).reshape([1, 3, 1, 1])
    np.testing.assert_allclose(key_styles.adapt_input(weight, 4).ravel(), np.float32([0, 1, 2, 0]) * 0.75)
    assert key_styles.adapt_input(weight, 4).dtype == np.float32 and key_styles.adapt_input(weight, 3) is weight


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('name', ['mobilenet_v2_x0_35', 'edgenext_xx_small', 'uniformer_xxs', 'mobileformer_26m'])
def test_only_the_first_convolution_is_adapted(name, channels):
    state = state_of(ic.create_model(name))
    model = ic.create_model(name, in_chans=channels)
    adapted = key_styles.adapt_first_convolution(model, state)
    load_state(model, adapted, 'adapted weights')
    assert sum(adapted[key] is not state[key] for key in state) == 1
    assert all(adapted[key] is state[key] for key in state if state[key].ndim != 4)


def test_all_branches_of_a_first_convolution_are_adapted():
    keys = {'MODEL.MOBILEONE.WIDTHS': [0.25] * 4, 'MODEL.NUM_CLASSES': 2}
    model, grey = (ic.create_model(ic.get_config('mobileone_s1', {**keys, 'MODEL.IN_CHANNELS': count})) for count in (3, 1))
    state = state_of(model)
    adapted = key_styles.adapt_first_convolution(grey, state)
    load_state(grey, adapted, 'adapted weights')
    assert {key for key in state if adapted[key] is not state[key]} == {'stem.conv_kxk.0.conv.weight',
                                                                        'stem.conv_scale.conv.weight'}


def test_a_state_that_needs_no_adapting_is_left_alone(mobilenet):
    state = state_of(mobilenet)
    assert key_styles.adapt_first_convolution(mobilenet, state) is state
