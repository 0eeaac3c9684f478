"""What values a key may have: its bounds stand beside its default, and count wherever a value comes from."""
import numpy
import pytest

import image_classification as ic
from image_classification.config import (DEFAULTS, argument_parser, bounds_of, check_values, config_from_args,
                                         config_from_text, families, family_defaults, get_config, keys_below)
from image_classification.config.bounds import Each, above, at_least, brief, one_of, pair, rising, whole, within

NAN, INF = float('nan'), float('inf')


def message(function, *args, **keywords):
    with pytest.raises(ic.UserError) as caught:
        function(*args, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def value_of(node, key):
    for part in key.split('.'):
        node = node[part]
    return node


def defaults():
    """(dotted key, its default, its bounds or None) of all keys of all families."""
    for family in families():
        bounds = bounds_of(family)
        for node, prefix in ((DEFAULTS, ''), (family_defaults(family), 'MODEL.')):
            for key in keys_below(node):
                if not isinstance(value_of(node, key), dict):
                    yield f'{prefix}{key}', value_of(node, key), bounds.get(f'{prefix}{key}')


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def test_every_number_has_bounds_and_every_default_is_within_its_own():
    for key, default, bounds in defaults():
        numbers = is_number(default) or isinstance(default, list) and (not default or is_number(default[0]))
        assert bounds or not numbers or key == 'BASE', key
        assert not bounds or bounds.fault(default) is None, key


def test_what_is_not_finite_is_within_no_bounds():
    for key, default, bounds in defaults():
        if bounds:
            for value in (NAN, INF, -INF):
                assert bounds.fault([value] * len(default) if isinstance(default, list) and default else [value, value]
                                    if isinstance(default, list) else value), key


@pytest.mark.parametrize('bounds, good, bad, words', [
    (within(0, 1), (0, 0.5, 1), (-0.1, 1.1, NAN, INF, True, '1', None, 10 ** 400), '0 to 1'),
    (at_least(1), (1, 1e300), (0, 0.999, NAN, INF), '1 or more'),
    (at_least(0, below=1), (0, 0.999), (1, -1e-9), '0 or more, below 1'),
    (above(0), (1e-9, 5), (0, -1), 'a number above 0'),
    (above(0, most=1), (1e-9, 1), (0, 1.001), 'a number above 0, up to 1'),
    (whole(1, 3), (1, 3), (0, 4, 1.0, True, '2'), 'a whole number from 1 to 3'),
    (one_of('ce', 'bce'), ('ce',), ('CE', '', 3, None), 'ce or bce'),
    (one_of('', 'a', 'b'), ('', 'a'), ('c',), "a or b, or '' for none"),
    (one_of('a', 'b', 'c', 'd', any_case=True), ('A', 'd'), ('e',), 'one of: a, b, c, d'),
    (pair(within(0, 1)), ([0, 1], (0.5, 0.5)), ([1, 0], [0], [0, 1, 1], [], [NAN, 1], [0, '1'], 0.5), '[least, most], in this'),
    (pair(whole(1, 9), optional=True), ([], [1, 9]), ([9, 1], [1.0, 2]), '[] or [least, most]'),
    (rising(at_least(0)), ([], [1, 1, 2]), ([2, 1], ['1'], [NAN], 3), 'values in rising order, each 0 or more'),
    (Each(within(0, 1), count=2), ([0, 1],), ([0], [0, 2], 5), '2 values, each 0 to 1'),
    (Each(within(0, 1), least=1), ([0],), ([],), 'at least 1 values, each 0 to 1')])
def test_bounds_admit_what_they_say(bounds, good, bad, words):
    assert all(bounds.fault(value) is None for value in good)
    assert all(bounds.fault(value) for value in bad)
    assert bounds.wanted.startswith(words)


@pytest.mark.parametrize('key, values', [
    ('TRAIN.BASE_LR', [NAN, INF, -1, 'nan', '-inf', '1e999', 10 ** 400]), ('TRAIN.GRAD_CLIP', [NAN, -1]),
    ('TRAIN.WEIGHT_DECAY', [NAN, -0.1]), ('TRAIN.HEAD_LR_SCALE', [NAN, 0, -1]), ('TRAIN.MODEL_EMA_DECAY', [2, 1, -0.1, NAN]),
    ('MODEL.DROPOUT', [NAN, 2, 1.0, -0.1]), ('MODEL.DROPPATH', [NAN, 1]), ('TRAIN.LINEAR_SCALED_LR', [-5]),
    ('TRAIN.MAX_STEPS', [-1]),
    ('SAVE_STEPS', [-1]), ('SEED', [-1, 2 ** 32, 10 ** 30]), ('TRAIN.OPTIMIZER.EPS', [-1, 0, NAN]),
    ('TRAIN.OPTIMIZER.BETAS', [[2, 2], [0.9], [0.9, NAN], [0.9, 0.99, 0.999], []]), ('DATA.CROP_PCT', [1e-9, 0, 1.5, NAN]),
    ('WATCHDOG_SECONDS', [-1, NAN, INF]), ('PUBLISHED.WEIGHTS', [[5], [{}], [{'TAG': 'a'}], ['x']]),
    ('MODEL.NUM_CLASSES', [0, -1, 10 ** 9]),
    ('MODEL.IN_CHANNELS', [0, -3]), ('DATA.IMAGE_SIZE', [0, -1, 100_000]), ('DATA.BATCH_SIZE', [0, -1, 10 ** 7]),
    ('DATA.NUM_WORKERS', [-1, 100_000]), ('TRAIN.MULTI_SCALE', [[320, 160], [160], [0, 160], [160.0, 320.0], ['160', '320']]),
    ('TRAIN.CROP_SCALE', [[1.0, 0.1], [0.0, 1.0], [NAN, 1.0]]), ('TRAIN.CROP_RATIO', [[2.0, 1.0], [0, 1]]),
    ('TRAIN.CUTMIX_MINMAX', [[0.5, 0.2], [0.5], [0, 2]]), ('TRAIN.DECAY_MILESTONES', [[60, 30], ['30'], [-1]]),
    ('TRAIN.DECAY_EPOCHS', [0]), ('TRAIN.DECAY_RATE', [0, 1.5]), ('TRAIN.POLY_POWER', [0]), ('TRAIN.WARMUP_EPOCHS', [-1, INF]),
    ('TRAIN.LR_SCHEDULE', ['linear']), ('DATA.BACKEND', ['gd']),
    ('DATA.DATASET', ['imagnet']), ('DATA.INTERPOLATION', ['cubic']),
    ('DATA.COLOR_ORDER', ['rgba']), ('AMP_DTYPE', ['float32']), ('VISUAL', ['wandb']), ('TRAIN.LAYER_DECAY', [0, 1.1]),
    ('TRAIN.ROTATE', [-1, 181]), ('TRAIN.SHEAR', [90]), ('TRAIN.FREEZE', [[''], [3]]),
    ('DATA.IMAGENET_STD', [[0, 1, 1], [], [1e-300]]),
    ('DATA.IMAGENET_MEAN', [[123.7, 116.3, 103.5], []]), ('TEMPERATURE', [0, -1, NAN]), ('KEEP_BEST', [0]), ('SAVE_FREQ', [0]),
    ('SAVE', ['', ' ']), ('MODEL.NAME', ['', '..', 'a/b', 'a' * 300]), ('MODEL.MF.TOKENS', [[3], [0, 128], [3, 10 ** 6]]),
    ('MODEL.MF.MLP_RATIO', [0, -2, NAN, 1e9]), ('MODEL.MF.BLOCK.STRIDES', [[-1]]), ('MODEL.MF.INIT', ['zeros'])])
def test_a_value_out_of_its_bounds_is_named_with_them(key, values):
    for value in values:
        text = message(get_config, None, {key: value})
        assert text.startswith(f'the overrides: {key}') and ' is ' in text and '; wanted ' in text and len(text) < 400


@pytest.mark.parametrize('key', ['MODEL.EDGENEXT.DIMS', 'MODEL.EDGENEXT.SDTA.HEADS'])
def test_a_value_in_a_list_is_named_with_its_place(key):
    text = message(get_config, 'edgenext_small', {key: [8, 16, -1, 8]})
    assert text == f'the overrides: {key}[2] is -1; wanted 1 to 65536'


def test_a_message_says_where_the_value_stands(tmp_path):
    path = tmp_path / 'a.yaml'
    path.write_text('BASE: [xception]\nTRAIN:\n  NUM_EPOCHS: 3\n  BASE_LR: .nan   # oh\n')
    args = argument_parser('').parse_args
    wrong = 'TRAIN.BASE_LR is nan; wanted 0 or more'
    assert message(get_config, path) == f'{path}, line 4: {wrong}'
    assert message(config_from_args, args(['-cfg', str(path), '-opts', 'SEED', '-1'])) == f'{path}, line 4: {wrong}'
    assert message(config_from_args, args(['-cfg', 'xception', '-opts', 'TRAIN.BASE_LR', 'nan'])) == f'-opts: {wrong}'
    assert message(config_from_args, args(['-cfg', 'xception', '-seed', '-1'])) == '-seed: SEED is -1; wanted 0 to 4294967295'
    assert message(get_config, 'xception', {'TRAIN.BASE_LR': NAN}) == f'the overrides: {wrong}'
    wrong = "create_model's dropout: MODEL.DROPOUT is 2.0; wanted 0 or more, below 1"
    assert message(ic.create_model, 'xception', dropout=2.0) == wrong


def test_a_stored_configuration_loads_with_values_that_are_refused_today():
    text = get_config('xception').dump().replace('GRAD_CLIP: 0.0', 'GRAD_CLIP: -1.0')
    assert config_from_text(text, 'a checkpoint').TRAIN.GRAD_CLIP == -1
    assert 'TRAIN.GRAD_CLIP' in message(config_from_text, text, 'a checkpoint', {'TRAIN.GRAD_CLIP': -2.0})


def test_a_configuration_that_was_changed_by_hand_is_checked(tmp_path):
    cfg = get_config('xception').clone()
    cfg.defrost()
    cfg.MODEL.NUM_CLASSES, cfg.TRAIN.BASE_LR = 0, NAN
    assert message(ic.create_model, cfg) == 'MODEL.NUM_CLASSES is 0; wanted 1 to 1000000'
    assert message(check_values, cfg, 'TRAIN.') == 'TRAIN.BASE_LR is nan; wanted 0 or more'


def test_a_choice_in_another_case_is_read_as_the_code_compares_it():
    cfg = get_config(None, {'DATA.DATASET': 'Folder', 'TRAIN.OPTIMIZER.NAME': 'sgd'})
    assert (cfg.DATA.DATASET, cfg.TRAIN.OPTIMIZER.NAME) == ('folder', 'SGD')
    assert config_from_text('TRAIN: {OPTIMIZER: {NAME: adamw}}', 'a checkpoint').TRAIN.OPTIMIZER.NAME == 'AdamW'


def test_numbers_of_numpy_are_numbers():
    cfg = get_config(None, {'MODEL.NUM_CLASSES': numpy.int64(5), 'TRAIN.BASE_LR': numpy.float32(0.5),
                            'TRAIN.WARMUP_EPOCHS': numpy.int32(2)})
    assert [type(value) for value in (cfg.MODEL.NUM_CLASSES, cfg.TRAIN.BASE_LR, cfg.TRAIN.WARMUP_EPOCHS)] == [int, float, float]


@pytest.mark.parametrize('kind', ['../../tmp', '/tmp', 'config', 'layers', 'x' * 5000])
def test_a_family_is_a_directory_of_the_package(kind):
    assert 'is no family of this library' in message(get_config, None, {'MODEL.TYPE': kind})


def test_a_long_value_is_cut_in_a_message():
    assert len(brief('x' * 5000)) < 100 and '5002 letters' in brief('x' * 5000)
    assert len(message(get_config, None, {'DATA.BACKEND': 'x' * 5000})) < 300


def test_choices_are_those_that_the_code_knows():
    from image_classification.datasets import DATASETS, policies, transforms
    from image_classification.engine import optim, schedule, visual
    known = {'DATA.DATASET': DATASETS, 'DATA.INTERPOLATION': transforms.INTERPOLATIONS, 'VISUAL': ['', *visual.PACKAGES],
             'TRAIN.LR_SCHEDULE': schedule.SCHEDULES, 'TRAIN.AUTO_AUGMENT': ['', *policies.AUTO_AUGMENT, 'trivial'],
             'TRAIN.OPTIMIZER.NAME': optim.OPTIMIZERS}
    for key, names in known.items():
        assert sorted(choice.lower() for choice in bounds_of('xception')[key].choices) == sorted(names), key
