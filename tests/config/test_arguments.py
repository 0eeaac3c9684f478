"""The command line of both trainers, and what the log says of it."""
import pytest

import image_classification as ic
from image_classification.config import argument_parser, config_from_args, opening_lines, parse_opts


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
