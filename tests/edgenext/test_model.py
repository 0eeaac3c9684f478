import numpy as np
import paddle
import pytest
from paddle import nn

import image_classification as ic
from image_classification.edgenext.model import XCA, ConvEncoder, PositionalEncodingFourier, SDTAEncoder
from tests.golden import Recording
from tests.networks import outline

PARAMETERS = {'xx_small': 1_327_216, 'x_small': 2_336_804, 'small': 5_586_832, 'base': 18_511_292, 'xx_small_bn_hs': 1_326_184,
              'x_small_bn_hs': 2_335_008, 'small_bn_hs': 5_584_000}
BOTH = ['edgenext_xx_small', 'edgenext_xx_small_bn_hs']


def with_keys(name='edgenext_xx_small', **keys):
    """A network with keys of MODEL.EDGENEXT changed, written with __ for the dot."""
    keys = {f'MODEL.EDGENEXT.{key.replace("__", ".")}': value for key, value in keys.items()}
    return ic.create_model(ic.get_config(name, {'MODEL.NUM_CLASSES': 3, **keys}))


@pytest.mark.parametrize('variant', PARAMETERS)
def test_has_the_recorded_number_of_parameters(variant):
    model = outline(f'edgenext_{variant}')
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) == PARAMETERS[variant]


@pytest.mark.parametrize('name', BOTH)
def test_has_the_published_names_in_their_order(name):
    own = [key.replace('._mean', '.running_mean').replace('._variance', '.running_var')
           for key in outline(name).state_dict()]
    assert own == [key for key, *_ in Recording(name).meta['keys'] if not key.endswith('num_batches_tracked')]


def test_the_last_encoder_of_all_stages_but_the_first_is_an_sdta_encoder():
    model = outline('edgenext_small')
    kinds = [[type(encoder) for encoder in stage] for stage in model.stages]
    assert kinds == [[ConvEncoder] * 3, *[[ConvEncoder] * (n - 1) + [SDTAEncoder] for n in (3, 9, 3)]]
    sdta = [stage[-1] for stage in model.stages[1:]]
    assert [encoder.pos_embd is not None for encoder in sdta] == [True, False, False]
    assert [encoder.widths for encoder in sdta] == [[48, 48], [54, 54, 52], [76, 76, 76, 76]]


def test_each_convolution_of_an_sdta_encoder_sees_the_pieces_before_its_own():
    encoder = ic.create_model('edgenext_xx_small').stages[2][-1]   # 88 channels in pieces of 30, 30 and 28
    x = paddle.randn((1, 88, 5, 5))
    changed = x.clone()
    changed[:, :30] += 1.0
    difference = (encoder.mix(changed) - encoder.mix(x)).abs().max(axis=[0, 2, 3])
    assert (difference[:60] > 0).all() and (difference[60:] == 0).all()
    assert (encoder.mix(x)[:, 60:] == x[:, 60:]).all()


def test_attention_runs_over_channels_and_does_not_know_the_order_of_pixels():
    attention = XCA(8, heads=2)
    x, order = paddle.randn((2, 8, 3, 4)), paddle.randperm(12)
    shuffled = x.flatten(2).index_select(order, 2).reshape([2, 8, 3, 4])
    found = attention(shuffled).flatten(2)
    np.testing.assert_allclose(found.numpy(), attention(x).flatten(2).index_select(order, 2).numpy(), atol=1e-6)


def test_position_encoding_ends_at_a_full_turn_whatever_the_size():
    encoding = PositionalEncodingFourier(4)
    for length in (1, 2, 7):
        code = encoding._code(length).numpy()                      # sine and cosine of the fastest wave first
        np.testing.assert_allclose(code[:2, -1], [0.0, 1.0], atol=1e-5)
    assert encoding(paddle.zeros((2, 9, 3, 5))).shape == [4, 3, 5]


@pytest.mark.parametrize('name', BOTH)
def test_a_blank_image_gives_finite_gradients(name):
    model = ic.create_model(name, num_classes=3)
    model(paddle.zeros((2, 3, 64, 64))).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if not p.stop_gradient)


@pytest.mark.parametrize('name', BOTH)
def test_takes_any_size_from_32_pixels_up(name):
    model = ic.create_model(name, num_classes=3).eval()
    x = paddle.rand((1, 3, 63, 90))
    assert (model(x) == model(x[:, :, :60, :88])).all()            # the rest fills no kernel of the stem
    with pytest.raises(ic.UserError, match='EdgeNeXt takes images of at least 32 x 32 pixels, found 31 x 90'):
        model(x[:, :, :31])


@pytest.mark.parametrize('name', BOTH)
def test_features_are_the_stages(name):
    model = ic.create_model(name, features_only=True, out_indices=(1, -1), in_chans=1)
    assert (model.channels, model.strides) == ((48, 168), (8, 32))
    assert [tuple(m.shape) for m in model(paddle.rand((2, 1, 64, 96)))] == [(2, 48, 8, 12), (2, 168, 2, 3)]


def test_drop_path_grows_from_encoder_to_encoder():
    model = ic.create_model('edgenext_xx_small', drop_path_rate=0.22, drop_rate=0.5)
    assert [encoder.drop_path.p for stage in model.stages for encoder in stage] == pytest.approx([0.02 * i for i in range(12)])
    assert model.head_dropout.p == 0.5


def test_the_published_rates_of_drop_path_are_set():
    assert {v: ic.get_config(f'edgenext_{v}').MODEL.DROPPATH for v in ('x_small', 'small', 'base')} == {
        'x_small': 0.0, 'small': 0.1, 'base': 0.1}


def test_layer_scale_starts_in_both_encoders_from_the_same_value_or_is_absent():
    scales = [p for name, p in with_keys(LAYER_SCALE_INIT=0.5).named_parameters() if 'gamma' in name]
    assert len(scales) == 15 and all((scale == 0.5).all() for scale in scales)
    plain = with_keys(LAYER_SCALE_INIT=0.0)
    assert not [name for name, _ in plain.named_parameters() if 'gamma' in name]
    assert plain(paddle.rand((2, 3, 64, 64))).shape == [2, 3]


def test_the_classifier_starts_scaled_also_a_new_one():
    model = with_keys(HEAD_INIT_SCALE=0.1, DIMS=[24, 48, 88, 400])
    for classes in (50, 40):
        model.reset_classifier(classes)
        assert model.head.weight.shape == [400, classes]
        assert model.head.weight.std().item() == pytest.approx(0.002, rel=0.05)


def test_the_first_stage_can_be_given_positions():
    model = with_keys(POSITION=True)
    assert model.pos_embd.token_projection.weight.shape == [24, 64, 1, 1]
    model(paddle.rand((1, 3, 64, 64))).sum().backward()
    assert model.pos_embd.token_projection.weight.grad.abs().max() > 0


def test_only_the_temperatures_are_exempt_from_weight_decay_by_name():
    assert ic.create_model('edgenext_xx_small').no_weight_decay() == {f'stages.{stage}.xca.temperature'
                                                                      for stage in ('1.1', '2.5', '3.1')}


def test_fusing_leaves_the_norms_that_residual_branches_read():
    model = Recording('edgenext_xx_small_bn_hs').fill(ic.create_model('edgenext_xx_small_bn_hs')).eval()
    fused = ic.fuse(model)
    x = paddle.randn((2, 3, 96, 64))
    with paddle.no_grad():
        plain, folded = model(x), fused(x)
    assert abs(plain - folded).max().item() <= 1e-4 * plain.std().item()
    norms = {name for name, layer in fused.named_sublayers() if isinstance(layer, nn.BatchNorm2D)}
    assert norms >= {f'stages.{stage}.norm_xca' for stage in ('1.1', '2.5', '3.1')}


@pytest.mark.parametrize('keys, words', [
    ({'DIMS': [24, 48]}, 'differ in length'), ({'KERNEL_SIZES': [3, 4, 7, 9]}, r'KERNEL_SIZES holds \[4\]'),
    ({'SDTA__BLOCKS': [3, 1, 1, 1]}, 'BLOCKS is 3 in stage 0'), ({'SDTA__SCALES': [2, 1, 3, 4]}, 'SCALES is 1 in stage 1'),
    ({'DIMS': [24, 48, 88, 9], 'SDTA__HEADS': [1, 1, 1, 1]}, 'SCALES is 4 in stage 3'),
    ({'SDTA__HEADS': [4, 4, 5, 4]}, 'HEADS is 5 in stage 2')])
def test_parts_that_do_not_fit_are_named(keys, words):
    with pytest.raises(ic.UserError, match=words):
        with_keys(**keys)
