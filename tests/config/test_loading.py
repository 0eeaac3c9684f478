"""Names and files of configurations: how they are found, merged and checked."""
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

import image_classification as ic
from image_classification.config import CONFIGS, config_from_text, find_config, get_config
from tests.golden import DATA

PROJECT = CONFIGS.parent


def write(path, text):
    path.write_text(text)
    return path


def message(function, *args):
    with pytest.raises(ic.UserError) as caught:
        function(*args)
    return str(caught.value)


def test_a_name_means_a_file_or_a_path_below_configs_or_a_model():
    experiment = CONFIGS / 'mobileformer_26m.yaml'
    assert find_config('configs/mobileformer_26m.yaml').samefile(experiment)
    assert find_config('mobileformer_26m.yaml') == experiment
    assert find_config('mobileformer_26m').parent.name == 'mobileformer'
    assert get_config('mnist5k/mobileformer_26m.yaml').DATA.DATASET == 'mnist5k'


def test_a_plain_word_is_always_a_model_and_a_yaml_always_a_file_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'edgenext_base', 'SEED: 3')
    assert find_config('edgenext_base').parent.name == 'edgenext'
    assert find_config('edgenext_base.yaml').parent.name == 'edgenext'
    assert get_config(write(tmp_path / 'edgenext_base.yaml', 'SEED: 3')).SEED == 3 == get_config('edgenext_base.yaml').SEED


@pytest.mark.parametrize('directory', ['.', 'image_classification'])
def test_cfg_finds_the_experiments_from_the_root_and_from_the_package(directory, monkeypatch):
    monkeypatch.chdir(PROJECT / directory)
    assert get_config('configs/mobileformer_26m.yaml').TRAIN.NUM_EPOCHS == 450


def test_a_chain_of_bases_is_merged_the_nearest_last(tmp_path):
    write(tmp_path / 'a.yaml', 'BASE: [mobileformer_52m]\nTRAIN: {BASE_LR: 1.0, NUM_EPOCHS: 7}')
    write(tmp_path / 'b.yaml', 'BASE: [a.yaml]\nTRAIN: {BASE_LR: 2.0}')
    cfg = get_config(tmp_path / 'b.yaml')
    assert (cfg.TRAIN.BASE_LR, cfg.TRAIN.NUM_EPOCHS, cfg.MODEL.MF.POINTWISECONV_GROUPS) == (2.0, 7, 1)


def test_a_base_that_leads_back_to_itself_is_named(tmp_path):
    write(tmp_path / 'a.yaml', 'BASE: [b.yaml]')
    assert 'leads back to itself' in message(get_config, write(tmp_path / 'b.yaml', 'BASE: [a.yaml]'))


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path):
    path = write(tmp_path / 'typo.yaml', 'TRAIN: {BASE_RL: 0.1}')
    text = message(get_config, path)
    assert str(path) in text and 'TRAIN.BASE_RL' in text and 'nearest known key is TRAIN.BASE_LR' in text
    assert 'TRAIN.NUM_EPOCHS' in message(get_config, None, {'TRAIN.NUM_EPOCH': 3})
    assert 'MODEL.MF.TOKENS' in message(get_config, None, {'MODEL.MF.TOKEN': [3, 128]})


@pytest.mark.parametrize('text, key, wanted', [
    ('TRAIN: {NUM_EPOCHS: ten}', 'TRAIN.NUM_EPOCHS', 'a whole number'), ('AMP: 1', 'AMP', 'true or false'),
    ('TRAIN: {BASE_LR: fast}', 'TRAIN.BASE_LR', 'a number'), ('SAVE: 3', 'SAVE', 'a text'),
    ('TRAIN: 3', 'TRAIN', 'a group of keys'), ('TRAIN: {CROP_SCALE: 0.5}', 'TRAIN.CROP_SCALE', 'a list'),
    ('DATA: {IMAGE_SIZE: true}', 'DATA.IMAGE_SIZE', 'a whole number'),
    ('MODEL: {MF: {TOKENS: [3, many]}}', 'MODEL.MF.TOKENS[1]', 'a whole number')])
def test_a_type_error_says_the_key_the_file_and_the_wanted_type(tmp_path, text, key, wanted):
    path = write(tmp_path / 'wrong.yaml', text)
    error = message(get_config, path)
    assert str(path) in error and f'{key} is ' in error and wanted in error


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path):
    assert get_config(write(tmp_path / 'a.yaml', 'TRAIN: {BASE_LR: 1e-3}')).TRAIN.BASE_LR == 1e-3


@pytest.mark.parametrize('text', ['{', '- a', 'MODEL: {TYPE: NoSuchFamily}', 'BASE: [3]', 'BASE: [nowhere.yaml]'])
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text):
    message(get_config, write(tmp_path / 'bad.yaml', text))


@pytest.mark.parametrize('name, close, others', [
    ('mobileformer_27m', ['mobileformer_26m'], []), ('Xception', ['xception'], []),
    ('mobilenet', ['mobilenet_v1_x0_25', 'mobilenet_v2_x1_0', 'mobilenet_v3_large_x1_0', 'mobilenet_v3_small_x1_0'], ['next']),
    ('mobilenet_v3_small', ['mobilenet_v3_small_x0_5', 'mobilenet_v3_small_x1_0'], ['large']),
    ('MobileNetV2', ['mobilenet_v2_x0_5', 'mobilenet_v2_x1_0'], ['v1', 'v3']),
    ('resnet50', ['ic_resnet50', 'ic_resnet50_k13'], [])])
def test_a_model_that_does_not_exist_is_answered_with_similar_ones(name, close, others):
    hint = message(get_config, name).partition('Did you mean ')[2]
    assert all(model in hint for model in close) and not any(word in hint for word in others)


@pytest.mark.parametrize('name', ['', {}, [], 5, b'xception', False])
def test_what_is_no_name_is_refused(name):
    text = message(get_config, name)
    assert text == f"the configuration is {name!r}; wanted the name of a model, such as 'xception', or a yaml file"


def test_a_long_name_gets_a_short_message():
    for name in ('x' * 5000, 'configs/' + 'x' * 5000 + '.yaml', 'a\0b', '.', '/'):
        assert len(message(get_config, name)) < 400


def test_keys_are_understood_in_any_case(tmp_path):
    path = write(tmp_path / 'small.yaml', 'base: [edgenext_small]\nmodel: {edgenext: {dims: [8, 16, 24, 32]}, Num_Classes: 3}\n'
                                          'Train: {base_lr: 0.5}\ntag: x')
    with pytest.warns(UserWarning, match='TAG .has no effect.'):
        cfg = get_config(path)
    assert (cfg.MODEL.EDGENEXT.DIMS, cfg.MODEL.NUM_CLASSES, cfg.TRAIN.BASE_LR) == ([8, 16, 24, 32], 3, 0.5)
    assert get_config(None, {'data.image_size': 64}).DATA.IMAGE_SIZE == 64
    assert 'nearest known key is TRAIN.BASE_LR' in message(get_config, None, {'train.base_rl': 1})


def test_overrides_of_a_group_leave_its_other_keys():
    cfg = get_config('edgenext_small.yaml', {'TRAIN.NUM_EPOCHS': 3, 'TRAIN': {'BASE_LR': 0.5}, 'MODEL': None})
    assert (cfg.TRAIN.NUM_EPOCHS, cfg.TRAIN.BASE_LR, cfg.TRAIN.WARMUP_EPOCHS) == (3, 0.5, 20.0)
    cfg = get_config(None, {'MODEL.NUM_CLASSES': 5, 'model.mf.tokens': [2, 8], 'Model': {'MF': {'num_head': 2}, 'dropout': 0.5},
                            'MODEL.MF': {}})
    assert (cfg.MODEL.NUM_CLASSES, cfg.MODEL.MF.TOKENS, cfg.MODEL.MF.NUM_HEAD, cfg.MODEL.DROPOUT) == (5, [2, 8], 2, 0.5)
    for overrides in ({'TRAIN': 3, 'TRAIN.NUM_EPOCHS': 3}, {'TRAIN.NUM_EPOCHS': 3, 'TRAIN': 3}):
        assert message(get_config, None, overrides) == 'the overrides: TRAIN is 3; wanted a group of keys'


def test_sizes_of_batches_that_are_given_with_the_size_of_the_images_stay():
    for keys in (['TRAIN.MULTI_SCALE', 'DATA.IMAGE_SIZE'], ['DATA.IMAGE_SIZE', 'TRAIN.MULTI_SCALE']):
        values = {'TRAIN.MULTI_SCALE': [64, 96], 'DATA.IMAGE_SIZE': 64}
        assert get_config('edgenext_small.yaml', {key: values[key] for key in keys}).TRAIN.MULTI_SCALE == [64, 96]


@pytest.mark.parametrize('variant', ['26m', '151m', '294m'])
def test_a_yaml_in_the_spelling_of_the_seed_loads_with_one_warning(tmp_path, variant):
    model = json.loads((DATA / f'seed_mobileformer_{variant}.json').read_text())['config_MODEL']
    path = write(tmp_path / 'old.yaml', yaml.safe_dump({'DATA': {'IMAGE_SIZE': 224, 'CROP_PCT': 0.9}, 'MODEL': model}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        cfg = get_config(path)
    assert len(caught) == 1 and 'STRIED -> MODEL.MF.LITE_BNECK.STRIDE' in str(caught[0].message)
    ours = get_config(f'mobileformer_{variant}').MODEL.MF
    assert cfg.MODEL.MF == ours


def test_keys_are_read_where_they_were_before_model_was_for_the_network_alone(tmp_path):
    model = {'RESUME': 'auto', 'PRETRAINED': 'x.safetensors', 'WEIGHTS': [], 'PUBLISHED': {'TOP1': 70.0}}
    old = {'BASE': ['mobilenext_x1_0'], 'MODEL': model, 'OVERRIDES': ['SEED 7']}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = [get_config('mobilenext_x1_0', {f'MODEL.{key}': value for key, value in model.items()}),
                 get_config(write(tmp_path / 'old.yaml', yaml.safe_dump(old)))]
    for cfg in found:
        assert (cfg.RESUME, cfg.PRETRAINED) == ('auto', 'x.safetensors')
        assert cfg.PUBLISHED == {'TOP1': 70.0, 'SOURCE': 'zhoudaquan/rethinking_bottleneck_design', 'WEIGHTS': []}
        assert not {'RESUME', 'PRETRAINED', 'WEIGHTS', 'PUBLISHED'} & set(cfg.MODEL) and 'OVERRIDES' not in cfg


def test_keys_of_paddlevit_without_a_counterpart_are_read_over_with_a_warning(tmp_path):
    path = write(tmp_path / 'old.yaml', 'TAG: x\nTRAIN: {LAST_EPOCH: 3}\nDATA: {BATCH_SIZE_EVAL: null}')
    with pytest.warns(UserWarning, match='no effect'):
        assert get_config(path).DATA.BATCH_SIZE_EVAL == 0


def test_every_shared_key_is_read_somewhere():
    files = [path for path in (PROJECT / 'image_classification').rglob('*.py') if path.name not in ('config.py', 'defaults.py')]
    sources = ' '.join(path.read_text() for path in files)
    sources += ' '.join(path.read_text() for path in (PROJECT / 'tools').glob('*.py'))
    cfg = get_config()
    unread = [f'{group}.{key}' for group in ('DATA', 'TRAIN') for key in cfg[group] if key not in sources]
    unread += [key for key in cfg if key not in ('BASE',) and key not in sources]
    assert not unread, unread


def test_a_line_of_every_yaml_says_how_it_differs():
    long = [path.name for path in [*CONFIGS.rglob('*.yaml'), *Path(ic.__file__).parent.rglob('*.yaml')]
            if len(path.read_text().partition('PUBLISHED:')[0].splitlines()) > 25]     # each publisher adds lines of his own
    assert not long, long


def test_reading_a_configuration_imports_neither_paddle_nor_the_code_for_downloads():
    program = ('import sys; from image_classification.config import get_config; get_config("mobileformer_26m.yaml"); '
               'print(*(name for name in sys.modules if name in ("paddle", "image_classification.download")))')
    result = subprocess.run([sys.executable, '-c', program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ''


@pytest.mark.parametrize('overrides, limits, step', [
    ({}, [160, 320], 32), ({'DATA.IMAGE_SIZE': 128}, [80, 160], 16), ({'DATA.IMAGE_SIZE': 64}, [40, 80], 8),
    ({'DATA.IMAGE_SIZE': 64, 'TRAIN.MULTI_SCALE': [64, 96]}, [64, 96], 32),
    ({'DATA.IMAGE_SIZE': 64, 'TRAIN.MULTI_SCALE': []}, [], 32), ({'TRAIN.IMAGE_SIZE': 192}, [120, 240], 24)])
def test_sizes_of_batches_follow_the_size_of_the_images(overrides, limits, step):
    train = ic.get_config('edgenext_small.yaml', overrides).TRAIN   # 160 to 320 px for 256
    assert (train.MULTI_SCALE, train.MULTI_SCALE_STEP) == (limits, step)


def test_progressive_sizes_follow_the_size_of_the_images_too():
    cfg = get_config('mnist5k/mobileformer_26m.yaml', {'DATA.IMAGE_SIZE': 24})
    assert cfg.TRAIN.PROGRESSIVE_SIZES == [16, 20, 24, 24]
    cfg = get_config('mnist5k/mobileformer_26m.yaml', {'DATA.IMAGE_SIZE': 24, 'TRAIN.PROGRESSIVE_SIZES': [20]})
    assert cfg.TRAIN.PROGRESSIVE_SIZES == [20]


def test_a_stored_configuration_keeps_its_sizes():
    cfg = ic.get_config('edgenext_small.yaml', {'DATA.IMAGE_SIZE': 128})
    assert config_from_text(cfg.dump(), 'a checkpoint').TRAIN == cfg.TRAIN
    other = config_from_text(cfg.dump(), 'a checkpoint', {'DATA.IMAGE_SIZE': 64})
    assert other.TRAIN.MULTI_SCALE == [40, 80] and other.MODEL == cfg.MODEL
