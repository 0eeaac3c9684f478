import shutil

import numpy as np
import pytest
from PIL import Image

from image_classification.errors import UserError
from image_classification.fit.split import split
from image_classification.fit.survey import lines, survey


def text(found):
    return '\n'.join(lines(found))


def test_it_says_what_is_there_in_ten_lines_at_most(folder):
    root = folder({'red': 40, 'green': 4})
    (root / 'red' / 'broken.png').write_bytes(b'no picture')
    (root / 'red' / 'notes.txt').write_text('mine')
    Image.new('L', (50, 40), 7).save(root / 'green' / 'grey.png')
    shutil.copy(root / 'red' / 'picture 0.png', root / 'red' / 'copy.png')
    shutil.copy(root / 'red' / 'picture 1.png', root / 'green' / 'wrong.png')
    found = survey(root)
    said = text(found)
    assert len(said.splitlines()) <= 10
    for words in ('47 in 2 classes: green 6, red 41', '48 x 40 to 50 x 44 pixels', '1 of them grey', 'red/broken.png',
                  'red/notes.txt', "'red' has 41 pictures, 'green' 6", '2 pictures are copies', '1 pictures are under two classes'):
        assert words in said, said


def test_a_picture_of_both_parts_is_left_out_of_the_training(folder):
    folder({'red': 8, 'green': 8}, 'train')
    root = folder({'red': 3, 'green': 3}, 'val')
    scene = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((80, 60), Image.BICUBIC)
    scene.save(root / 'val' / 'red' / 'scene.png')
    scene.resize((200, 150)).save(root / 'train' / 'red' / 'larger.jpg', quality=90)
    found = survey(root)
    assert 'leak        1 pictures' in text(found)
    training, validation, test = split(found)
    assert not any(picture.path.name == 'larger.jpg' for picture in training + validation)
    assert len(test) == 7 and {picture.part for picture in test} == {'test'}


@pytest.mark.parametrize('make, words', [
    (lambda root, folder: root / 'nowhere', 'does not exist'), (lambda root, folder: root, 'has no folders'),
    (lambda root, folder: folder({'red': 9}), "only the folder 'red'"),
    (lambda root, folder: folder({'red': 9, 'green': 0}), 'green has no picture that can be read')])
def test_a_folder_that_cannot_be_learned_from_is_refused(tmp_path, folder, make, words):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=words):
        survey(make(tmp_path / 'empty', folder))


def test_only_unreadable_files_are_one_message(folder):
    root = folder({'red': 3, 'green': 3})
    for path in root.glob('*/*.png'):
        path.write_bytes(b'no picture')
    with pytest.raises(UserError, match='6 unreadable'):
        survey(root)


def test_train_alone_is_learned_and_a_test_elsewhere_is_the_test(folder, tmp_path):
    root = folder({'red': 8, 'green': 8}, 'Train')
    assert {picture.part for picture in survey(root).pictures} == {'train'}
    shutil.copytree(root / 'Train' / 'red', tmp_path / 'other' / 'VAL' / 'red')
    found = survey(root, tmp_path / 'other')
    assert found.classes == ['green', 'red']
    assert [picture.label for picture in found.pictures if picture.part == 'test'] == [1] * 8
    with pytest.raises(UserError, match="all pictures of the class 'red' are in the test, too"):
        split(found)


def test_what_is_learned_is_no_test(folder):
    with pytest.raises(UserError, match='is the folder that is learned; wanted other pictures'):
        survey(folder({'red': 4, 'green': 4}), folder({}))


def test_links_and_what_is_not_read_are_said(folder):
    root = folder({'red': 4, 'green': 4})
    (root / 'red' / 'up').symlink_to('..')
    (root / 'red' / 'twice.png').symlink_to('picture 0.png')
    (root / 'green' / 'raw.cr3').write_bytes(b'x')
    (root / 'green' / '@eaDir').mkdir()
    shutil.copy(root / 'red' / 'picture 1.png', root / 'green' / '@eaDir')
    found = survey(root)
    assert len(found.pictures) == 8 and not found.ignored
    for words in ('1 picture is of a kind that is not read here: 1 .cr3, e.g. green/raw.cr3', 'red/up leads to',
                  'red/twice.png is the same'):
        assert words in text(found), text(found)


def test_a_folder_without_anything_to_learn_is_refused(folder):
    with pytest.raises(UserError, match='has nothing to learn, only test/'):
        survey(folder({'red': 4, 'green': 4}, 'test'))


def test_12_bits_in_a_file_of_16_are_seen(folder):
    root = folder({'red': 3, 'green': 3})
    Image.fromarray(np.arange(0, 4096, 2, dtype=np.uint16).reshape(32, 64)).save(root / 'red' / 'deep.png')
    deep = next(picture for picture in survey(root).pictures if picture.path.name == 'deep.png')
    assert deep.small.max() > 200


def test_another_class_in_the_test_is_named(folder, tmp_path):
    root = folder({'red': 5, 'green': 5})
    (tmp_path / 'other' / 'blue').mkdir(parents=True)
    with pytest.raises(UserError, match="has the class 'blue'"):
        survey(root, tmp_path / 'other')
