"""ImageNet's lists and class folders; and what every data set promises."""
import pickle

import numpy as np
import pytest

from image_classification.datasets import get_dataset
from image_classification.datasets.images import open_image
from image_classification.errors import UserError


@pytest.fixture
def imagenet(config, class_folders, tmp_path):
    """imagenet(lines, ...): the training part of a data set with those lines in its list."""
    def make(lines, classes=10, is_train=True):
        if not (tmp_path / 'train').exists():
            class_folders(tmp_path, {'train/a b': 2, 'train/c': 1})
        (tmp_path / ('train_list.txt' if is_train else 'val_list.txt')).write_text(lines, encoding='utf-8')
        return get_dataset(config('DATA.DATA_PATH', str(tmp_path), 'MODEL.NUM_CLASSES', classes), is_train)
    return make


@pytest.fixture
def folder(config, tmp_path):
    return lambda is_train=True, classes=2, *more: get_dataset(
        config('DATA.DATASET', 'folder', 'DATA.DATA_PATH', str(tmp_path), 'MODEL.NUM_CLASSES', classes, *more), is_train)


# imagenet2012

def test_lists_may_have_spaces_in_names_and_blank_lines(imagenet, tmp_path):
    dataset = imagenet('train/a b/0.png 3\n\n  \ntrain/c/0.png\t9\ntrain/a b/1.png   0')
    assert dataset.labels.tolist() == [3, 9, 0] and len(dataset) == 3
    assert dataset.path(0) == str(tmp_path / 'train/a b/0.png')
    assert dataset.image(2).tobytes() == open_image(tmp_path / 'train/a b/1.png').tobytes()


def test_names_beyond_ascii_and_a_byte_order_mark_are_read(imagenet, tmp_path, photo):
    (tmp_path / 'bücher').mkdir()
    photo().save(tmp_path / 'bücher/猫.png')
    assert imagenet('\ufeffbücher/猫.png 1\n').image(0).tobytes() == photo().tobytes()


def test_evaluation_reads_the_other_list(imagenet):
    assert imagenet('train/c/0.png 4\n', is_train=False).labels.tolist() == [4]


def test_classes_are_numbers_or_the_lines_of_classes_txt(imagenet, tmp_path):
    assert imagenet('train/c/0.png 1\n', classes=3).classes == ['0', '1', '2']
    (tmp_path / 'classes.txt').write_text('tench\ngreat white shark\n\n')
    assert imagenet('train/c/0.png 1\n', classes=3).classes == ['tench', 'great white shark']


@pytest.mark.parametrize('line', ['train/c/0.png', '7', 'train/c/0.png one', 'train/c/0.png 1.5'])
def test_a_bad_line_is_an_error_that_names_file_and_line(imagenet, line):
    with pytest.raises(UserError, match=r'train_list\.txt, line 3: .*wanted "path/of/image label"'):
        imagenet(f'train/c/0.png 1\n\n{line}\n')


@pytest.mark.parametrize('label, message', [
    (10, 'has the label 10; wanted 0 to 9, as MODEL.NUM_CLASSES is 10; set -num_classes 11'),
    (-1, 'has the label -1; wanted 0 to 9')])
def test_a_label_outside_the_classes_is_an_error(imagenet, label, message):
    with pytest.raises(UserError, match=f'train_list.txt {message}'):
        imagenet(f'train/c/0.png 1\ntrain/c/0.png {label}\n')


@pytest.mark.parametrize('names, message', [('a\nb\n', 'label 5, but there are only 2 class names'),
                                            ('a\n' * 11, 'has 11 classes, MODEL.NUM_CLASSES is 10; set -num_classes 11')])
def test_classes_txt_must_fit(imagenet, tmp_path, names, message):
    (tmp_path / 'classes.txt').write_text(names)
    with pytest.raises(UserError, match=message):
        imagenet('train/c/0.png 5\n')


def test_an_empty_list_is_an_error(imagenet):
    with pytest.raises(UserError, match='train_list.txt holds no images'):
        imagenet('\n')


def test_a_missing_list_is_an_error(config, tmp_path):
    with pytest.raises(UserError, match='val_list.txt does not exist; wanted lines of .* use -dataset folder'):
        get_dataset(config('DATA.DATA_PATH', str(tmp_path)), False)


def test_labels_from_1_on_are_not_answered_with_one_more_class(imagenet, tmp_path):
    for _ in range(2):
        with pytest.raises(UserError, match='has the labels 1 to 3 for 3 classes; wanted 0 to 2: .*subtract 1 from each'):
            imagenet('train/c/0.png 1\ntrain/c/0.png 2\ntrain/a b/0.png 3\n', classes=3)
        (tmp_path / 'classes.txt').write_text('a\nb\nc\n')
    note, = imagenet('train/c/0.png 1\ntrain/a b/0.png 2\n', classes=3).notes
    assert note.endswith('has no pictures of a; labels count from 0')


def test_a_picture_is_evaluated_once_however_often_it_is_listed(imagenet):
    data = imagenet('train/a b/0.png 3\ntrain/c/0.png 9\n./train/a b/0.png 3\n', is_train=False)
    assert data.labels.tolist() == [3, 9] and '1 of the 3 lines of' in data.notes[0]


def test_a_picture_of_both_lists_is_evaluated_and_not_learned(imagenet, tmp_path):
    imagenet('train/a b/../a b/0.png 3\n', is_train=False)
    data = imagenet('train/a b/0.png 3\ntrain/c/0.png 9\ntrain/a b/1.png 0\n')
    assert data.labels.tolist() == [9, 0]
    assert data.notes[0] == 'warning: 1 training picture is also evaluated and so left out: train/a b/0.png is in val_list.txt'
    with pytest.raises(UserError, match='train_list.txt has only pictures that are also in val_list.txt, e.g. train/a b/0.png'):
        imagenet('train/a b/0.png 3\n')


# folder

@pytest.mark.parametrize('val', ['val', 'valid', 'validation', 'test'])
def test_folders_of_train_and_val_are_read(folder, class_folders, tmp_path, val):
    class_folders(tmp_path, {'train/dog': 3, 'train/cat': 2, f'{val}/cat': 1, f'{val}/dog': 1})
    train, test = folder(), folder(False)
    assert train.classes == test.classes == ['cat', 'dog']
    assert train.labels.tolist() == [0, 0, 1, 1, 1] and test.labels.tolist() == [0, 1]
    assert test.path(1) == str(tmp_path / val / 'dog/0.png')


def test_images_may_lie_deeper_and_other_files_are_ignored(folder, class_folders, photo, tmp_path):
    class_folders(tmp_path, {'train/a': 1, 'train/a/deep/er': 1, 'train/b': 1, 'train/.cache': 1, 'train/b/.thumbs': 1,
                             'val/a': 1})
    photo().save(tmp_path / 'train/b/UPPER.JPG')
    photo().save(tmp_path / 'train/b/.hidden.png')
    (tmp_path / 'train/b/notes.txt').write_text('no image')
    (tmp_path / 'train/readme.md').write_text('no class')
    dataset = folder()
    assert dataset.classes == ['a', 'b']
    names = [dataset.path(i).replace(str(tmp_path / 'train'), '') for i in range(len(dataset))]
    assert names == ['/a/0.png', '/a/deep/er/0.png', '/b/0.png', '/b/UPPER.JPG']


def test_class_folders_alone_are_split_four_to_one(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'a': 10, 'b': 2, 'c': 1})
    train, test = folder(True, 3), folder(False, 3)
    assert np.bincount(train.labels, minlength=3).tolist() == [8, 1, 1]
    assert np.bincount(test.labels, minlength=3).tolist() == [2, 1, 0]
    paths = [d.path(i) for d in (train, test) for i in range(len(d))]
    assert len(set(paths)) == 13
    again = folder(False, 3, 'SEED', 7)
    assert [again.path(i) for i in range(3)] == [test.path(i) for i in range(3)]


def test_an_empty_class_folder_is_an_error_that_names_it(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'train/a': 1, 'train/empty': 0, 'val/a': 1, 'val/empty': 0})
    with pytest.raises(UserError, match='train/empty has no images'):
        folder()


def test_val_must_not_have_other_classes_than_train(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'train/a': 1, 'train/b': 1, 'val/b': 1, 'val/d': 1})
    with pytest.raises(UserError, match="val has the folders d, which .*train lacks; its classes are a, b. Rename or"):
        folder(False)


@pytest.mark.parametrize('count', [1, 3])
def test_another_number_of_classes_is_an_error(folder, class_folders, tmp_path, count):
    class_folders(tmp_path, {'a': 5, 'b': 5})
    with pytest.raises(UserError, match=f'has 2 classes, MODEL.NUM_CLASSES is {count}; set -num_classes 2'):
        folder(True, count)


def test_a_class_may_be_missing_in_val_and_it_says_so(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'train/a': 1, 'train/b': 1, 'val/b': 2})
    data = folder(False)
    assert data.classes == folder().classes == ['a', 'b'] and data.labels.tolist() == [1, 1]
    assert data.notes == ['no pictures of a in val/'] and folder().notes == []


def test_train_without_val_is_split_and_it_says_so(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'train/a': 5, 'train/b': 5})
    assert len(folder()) == 8 and len(folder(False)) == 2 and 'a fixed fifth of it is held back' in folder().notes[0]


def test_val_without_train_is_an_error_only_in_training(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'val/a': 1, 'val/b': 1})
    assert len(folder(False)) == 2
    with pytest.raises(UserError, match='has no folder train, but val'):
        folder()


def test_no_folders_are_an_error(folder):
    with pytest.raises(UserError, match='has no folders in it; wanted one per class'):
        folder()


def test_a_path_that_is_a_file_is_an_error(config, tmp_path):
    (tmp_path / 'images.zip').touch()
    with pytest.raises(UserError, match='images.zip cannot be read as a folder of classes: Not a directory'):
        get_dataset(config('DATA.DATASET', 'folder', 'DATA.DATA_PATH', str(tmp_path / 'images.zip')), True)


# Every data set

def test_a_sample_depends_on_seed_epoch_and_index_only(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'train/a': 3, 'train/b': 3, 'val/a': 1})
    one, two, other = folder(), folder(), folder(True, 2, 'SEED', 1)
    last_first = [two[i][0] for i in reversed(range(6))][::-1]
    for i in range(6):
        np.testing.assert_array_equal(one[i][0], last_first[i])
    assert (one[0][0] != other[0][0]).any()
    np.testing.assert_array_equal(one[0][0], two.sample(0, epoch=0)[0])
    assert (one[0][0] != two.sample(0, epoch=1)[0]).any()


def test_evaluation_samples_are_preprocessed_and_the_same_every_time(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'val/a': 1, 'val/b': 1})
    dataset = folder(False)
    before = dataset[1][0]
    np.testing.assert_array_equal(before, dataset.sample(1, epoch=5)[0])
    np.testing.assert_array_equal(before, dataset.preprocess(open_image(dataset.path(1))))


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('is_train', [True, False])
def test_samples_are_float32_arrays_and_int64_labels(config, class_folders, tmp_path, channels, is_train):
    class_folders(tmp_path, {'a': 5, 'b': 5})
    cfg = config('DATA.DATASET', 'folder', 'DATA.DATA_PATH', str(tmp_path), 'MODEL.NUM_CLASSES', 2,
                 'DATA.IMAGENET_MEAN', [0.5], 'DATA.IMAGENET_STD', [0.5])
    image, label = get_dataset(cfg, is_train, channels=channels)[-1]
    assert image.shape == (channels, 8, 8) and image.dtype == np.float32 and label.dtype == np.int64 and label == 1


def test_an_index_beyond_the_end_is_an_index_error(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'val/a': 1, 'val/b': 1})
    assert len(list(folder(False))) == 2
    with pytest.raises(IndexError):
        folder(False)[2]


def test_a_data_set_can_be_pickled(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'train/a': 2, 'train/b': 2, 'val/a': 1})
    dataset = folder(True, 2, 'TRAIN.RAND_AUGMENT', True)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[3][0], dataset[3][0])


def test_an_unknown_name_is_an_error_that_lists_the_known(config):
    with pytest.raises(UserError, match="DATA.DATASET is 'imagnet'; wanted one of: imagenet2012, folder, mnist5k, mnist"):
        get_dataset(config('DATA.DATASET', 'imagnet'), True)


@pytest.mark.parametrize('dataset', ['imagenet2012', 'folder'])
def test_a_missing_path_is_an_error_that_names_it(config, dataset):
    with pytest.raises(UserError, match=f'DATA.DATA_PATH is empty, which {dataset} needs; set -data_path'):
        get_dataset(config('DATA.DATASET', dataset), True)
    with pytest.raises(UserError, match='DATA.DATA_PATH /no/where does not exist'):
        get_dataset(config('DATA.DATASET', dataset, 'DATA.DATA_PATH', '/no/where'), True)


def test_a_negative_seed_is_an_error(folder, class_folders, tmp_path):
    class_folders(tmp_path, {'a': 5, 'b': 5})
    with pytest.raises(UserError, match='SEED is -1; wanted 0 to 4294967295'):
        folder(True, 2, 'SEED', -1)
