"""The command line of both trainers, and what the log says of it."""
import pytest

import image_classification as ic
from image_classification.config import argument_parser, config_from_args, opening_lines, overrides_of, parse_opts


def parsed(*words):
    return argument_parser('').parse_args(words)


def test_flags_go_over_the_yaml_and_opts_over_the_flags():
    cfg = config_from_args(parsed(
        '-cfg', 'mobileformer_26m', '-batch_size', '8', '-num_classes', '5', '-amp', '-eval', '-data_path', 'x y',
        '-resume', 'auto', '-output', 'runs', '-accum_iter', '2', '-opts', 'DATA.BATCH_SIZE', '16',
        'TRAIN.BASE_LR', '1e-3', 'TRAIN.CROP_SCALE', '[0.2, 1]', 'DATA.IMAGENET_MEAN', '[0, 0, 0]'))
    assert (cfg.DATA.BATCH_SIZE, cfg.MODEL.NUM_CLASSES, cfg.AMP, cfg.EVAL, cfg.DATA.DATA_PATH) == (16, 5, True, True, 'x y')
    assert (cfg.RESUME, cfg.SAVE, cfg.TRAIN.ACCUM_ITER) == ('auto', 'runs', 2)
    assert (cfg.TRAIN.BASE_LR, cfg.TRAIN.CROP_SCALE, cfg.DATA.IMAGENET_MEAN) == (1e-3, [0.2, 1.0], [0.0, 0.0, 0.0])


def test_opts_come_in_pairs():
    with pytest.raises(ic.UserError, match='pairs'):
        parse_opts(['SEED'])


def config(*words):
    return config_from_args(parsed('-cfg', 'xception', *words))


@pytest.mark.parametrize('words', [
    '-opts TRAIN {BASE_LR:|1} -epochs 3', '-epochs 3 -opts TRAIN.BASE_LR 1', '-opts TRAIN.BASE_LR 1 -epochs 3',
    '-opts train.base_lr 1 --epochs 3', '-opts train {base_lr:|1} TRAIN.NUM_EPOCHS 3', '-opts -epochs 3 -opts Train.Base_Lr 1'])
def test_a_group_leaves_the_other_keys_and_opts_may_stand_anywhere(words):
    train = config(*[word.replace('|', ' ') for word in words.split()]).TRAIN
    assert (train.BASE_LR, train.NUM_EPOCHS) == (1.0, 3)


def test_a_flag_behind_opts_is_a_flag():
    cfg = config('-opts', 'EXPORT', 'False', '-output', 'X', '--batch-size', '8', '-opts', 'TRAIN.WARMUP_EPOCHS', '0')
    assert (cfg.EXPORT, cfg.SAVE, cfg.DATA.BATCH_SIZE, cfg.TRAIN.WARMUP_EPOCHS) == (False, 'X', 8, 0.0)


@pytest.mark.parametrize('words, text', [
    ('-opts EXPORT -output X', "-opts has no value for 'EXPORT', before -output; wanted pairs of KEY VALUE"),
    ('-opts SEED 1 EXPORT', "-opts has no value for 'EXPORT'; wanted pairs of KEY VALUE"),
    ('-opts SEED -1', '-opts: SEED is -1; wanted 0'),
    ('-opts TRAIN 3', '-opts: TRAIN is 3; wanted a group of keys: NUM_EPOCHS'), ('-opts TRAIM {}', '-opts: unknown key TRAIM'),
    ('-opts BASE xception', '-opts: BASE is for yaml files'),
    ('-opts SEED {a:|1,a:|2}', '-opts SEED, line 1: a is there twice'), ('-freeze stem,,', '-freeze: TRAIN.FREEZE[1] is'),
    ('-ngpus 100000', '-ngpus is 100000; wanted -1 to 256'), ('--max-restarts -1', '-max_restarts is -1; wanted 0 to 1000'),
    ('-image_size 0', '-image_size: DATA.IMAGE_SIZE is 0; wanted 1 to 4096'),
    ('--num-classes -1', '-num_classes: MODEL.NUM_CLASSES is -1')])
def test_what_is_wrong_is_named_as_it_was_typed(words, text):
    with pytest.raises(ic.UserError) as caught:
        config(*[word.replace('|', ' ') for word in words.split()])
    assert str(caught.value).startswith(text)


def test_words_that_are_no_yaml_are_texts():
    for word in ('[', 'a [1]: b: c', '2020-13-45', 'C:\\pictures', '[' * 3000):
        assert config('-opts', 'SAVE', word).SAVE == word


def test_an_empty_cfg_is_no_configuration():
    with pytest.raises(ic.UserError, match='-cfg is empty; wanted a yaml file or the name of a model'):
        config_from_args(parsed('-cfg', ''))


def test_keys_that_are_found_by_name_are_found_in_any_case():
    assert overrides_of(parsed('-opts', 'data', '{data_path: x}', 'model.mf.tokens', '[2, 8]')) == {
        'DATA.DATA_PATH': 'x', 'MODEL.mf.tokens': [2, 8]}


def test_every_flag_of_paddlevit_is_accepted():
    text = argument_parser('').format_help()
    for flag in ('cfg dataset data_path batch_size batch_size_eval image_size num_classes output pretrained resume eval amp '
                 'accum_iter num_workers ngpus save_freq log_freq validate_freq opts').split():
        assert f'-{flag} ' in text or f'-{flag}]' in text or f'-{flag}\n' in text, flag


@pytest.mark.parametrize('name, wanted', [
    ('mobileformer_26m', "image_classification/mobileformer/mobileformer_26m.yaml, the network with the library's default "
                         'recipe; its published recipe is configs/mobileformer_26m.yaml'),
    ('edgenext_base', "image_classification/edgenext/edgenext_base.yaml, the network with the library's default recipe"),
    ('mobileformer_26m.yaml', 'configs/mobileformer_26m.yaml'),
    ('mnist5k/mobileformer_26m.yaml', 'configs/mnist5k/mobileformer_26m.yaml')])
def test_the_log_begins_with_the_file_that_cfg_means(name, wanted):
    assert opening_lines(parsed('-cfg', name)) == [f'configuration  {wanted}']


def test_the_log_says_what_flags_and_opts_have_changed():
    args = parsed(*'-cfg mobileformer_26m -seed 7 -epochs 300 -freeze stem,tokens -resume auto -opts TRAIN.BASE_LR 1e-2 '
                   'MODEL.PRETRAINED x.safetensors'.split())
    line = opening_lines(args)[1]                                  # 300 epochs are the yaml's
    assert line == ('flags and -opts: RESUME auto, PRETRAINED x.safetensors, TRAIN.BASE_LR 0.01, '
                    "TRAIN.FREEZE ['stem', 'tokens'], SEED 7")
