"""What a command line does not say is taken from the folder or from the checkpoint."""
import pytest
from PIL import Image

import image_classification as ic
from image_classification.checkpoint import Progress
from image_classification.config import argument_parser
from image_classification.engine.command_line import configuration


def configured(*words):
    return configuration(argument_parser('').parse_args([str(word) for word in words]))


@pytest.fixture
def classes(tmp_path):
    """Three class folders without parts."""
    for name in ('ant', 'bee', 'cat'):
        (tmp_path / 'data' / name).mkdir(parents=True)
        Image.new('RGB', (30, 20)).save(tmp_path / 'data' / name / 'a.png')
    return tmp_path / 'data'


def test_the_folder_says_that_it_is_one_and_how_many_classes_it_has(classes, colours):
    cfg, opening = configured('-cfg', 'mobilenet_v3_small_x1_0', '-data_path', classes)
    assert (cfg.DATA.DATASET, cfg.MODEL.NUM_CLASSES) == ('folder', 3)
    assert opening[-1] == f'found in {classes}: DATA.DATASET folder, MODEL.NUM_CLASSES 3'
    assert configured('-cfg', 'mobilenet_v3_small_x1_0', '-data_path', colours)[0].MODEL.NUM_CLASSES == 2    # train/, val/


@pytest.mark.parametrize('words, epochs, recipe', [
    (['mobilenet_v3_small_x1_0'], 60, 'the recipe for folders, configs/_base_/folder_scratch.yaml'),
    (['mobilenet_v3_small_x1_0', '-pretrained', 'default'], 20, 'the recipe for folders, configs/_base_/folder_finetune.yaml'),
    (['mobilenet_v3_small_x1_0', '-epochs', '7', '-dataset', 'folder'], 7, 'folder_scratch.yaml'),
    (['configs/mobilenet_v3_small_x1_0.yaml'], 600, 'configs/mobilenet_v3_small_x1_0.yaml')])
def test_a_network_by_its_name_takes_a_recipe_for_folders_and_a_file_is_taken_as_it_is(classes, words, epochs, recipe):
    cfg, opening = configured('-cfg', *words, '-data_path', classes)
    assert cfg.TRAIN.NUM_EPOCHS == epochs and recipe in opening[0] and cfg.MODEL.NUM_CLASSES == 3
    assert bool(cfg.TRAIN.LINEAR_SCALED_LR) == words[0].endswith('.yaml')


def test_what_flags_and_files_say_stays(classes, tmp_path):
    assert configured('-cfg', 'mobilenet_v3_small_x1_0', '-data_path', classes, '-num_classes', 9)[0].MODEL.NUM_CLASSES == 9
    cfg, _ = configured('-cfg', 'mobilenet_v3_small_x1_0', '-data_path', classes, '-dataset', 'imagenet2012')
    assert (cfg.DATA.DATASET, cfg.MODEL.NUM_CLASSES, cfg.TRAIN.NUM_EPOCHS) == ('imagenet2012', 1000, 300)
    (tmp_path / 'own.yaml').write_text('BASE: mobilenet_v3_small_x1_0\nMODEL: {NUM_CLASSES: 4}\nTRAIN: {NUM_EPOCHS: 2}\n')
    cfg, _ = configured('-cfg', tmp_path / 'own.yaml', '-data_path', classes)
    assert (cfg.DATA.DATASET, cfg.MODEL.NUM_CLASSES, cfg.TRAIN.NUM_EPOCHS) == ('folder', 4, 2)


def test_other_data_sets_are_not_taken_for_folders(classes):
    assert configured('-cfg', 'cifar10/mobileformer_26m.yaml', '-data_path', classes)[0].DATA.DATASET == 'cifar10'
    (classes / 'train_list.txt').write_text('ant/a.png 0\n')
    assert configured('-cfg', 'mobilenet_v3_small_x1_0', '-data_path', classes)[0].DATA.DATASET == 'imagenet2012'
    (classes / 'train_list.txt').unlink()
    for name in ('ant', 'bee', 'cat'):
        (classes / name / 'a.png').unlink()                        # folders of anything else
    assert configured('-cfg', 'mobilenet_v3_small_x1_0', '-data_path', classes)[0].DATA.DATASET == 'imagenet2012'


def test_without_a_configuration_it_says_what_is_missing(classes):
    for words in ([], ['-eval', '-pretrained', classes / 'none.safetensors']):
        with pytest.raises(ic.UserError, match='-cfg is missing'):
            configured('-data_path', classes, *words)


def test_early_stopping_counts_after_the_warm_up():
    progress = Progress()
    for step, counts in enumerate((False, False, False, True, True)):
        progress.add_evaluation({'top1': 20.0, 'step': step}, counts)
    assert progress.since_best == 2 and progress.best['step'] == 0
