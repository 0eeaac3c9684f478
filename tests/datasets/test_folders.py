"""Which files of a folder count, and where its parts are: the same for every command."""
import os
from pathlib import Path

import pytest

from image_classification.datasets import kinds
from image_classification.datasets.folders import Walk, find_layout
from image_classification.datasets.labelled import all_classes, learned_of_known, of_known, to_evaluate, to_learn
from image_classification.datasets.pictures import find_images
from image_classification.errors import UserError

CAT_DOG = ('cat/1.jpg', 'cat/2.jpg', 'dog/1.jpg', 'dog/2.jpg')


@pytest.fixture
def make(tmp_path):
    """make(*names): a folder of files of these names, each of its own content; a name that ends in / is an empty folder."""
    def build(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).mkdir(parents=True) if name.endswith('/') else (tmp_path / name).write_bytes(name.encode())
        return tmp_path
    return build


def link(path, target):
    os.symlink(target, path)


def by_class(found):
    return {name: [os.path.basename(file) for file in files] for name, files in zip(found.classes, found.files)}


def every_view(root):
    """The pictures of class folders as training with its evaluation, evaluation, prediction and calibration see them."""
    learned, held = to_learn(root), to_evaluate(root)
    trained = {os.path.join(part.part, name) for part in (learned, held) for name in part.names}
    known = of_known(root, learned.classes)
    calibration = learned_of_known(root, learned.classes)
    return [trained, {os.path.join(known.part, name) for name in known.names}, set(find_images([str(root)])),
            {os.path.join(root, name) for part in (held, calibration) for name in part.names}]


def test_every_command_sees_the_same_pictures(make):
    left_out = ('cat/.x.jpg', 'cat/._1.jpg', 'cat/.ipynb_checkpoints/1.jpg', 'cat/@eaDir/1.jpg', '.Trash-1000/files/1.jpg',
                '__MACOSX/cat/1.jpg', 'cat/#recycle/9.jpg', '@Recycle/9.jpg', '$RECYCLE.BIN/9.jpg',
                'dog/System Volume Information/9.jpg', 'lost+found/9.jpg', 'dog/Thumbs.db', 'dog/desktop.ini', 'dog/notes.txt')
    root = make(*CAT_DOG, 'cat/deep/er/3.PNG', 'dog/album.jpg/3.jpg', '.elsewhere/4.jpg', *left_out)
    link(root / 'dog' / 'more', root / '.elsewhere')
    for view in every_view(root):
        assert {os.path.relpath(path, root) for path in view} == {*CAT_DOG, 'cat/deep/er/3.PNG', 'dog/album.jpg/3.jpg',
                                                                  'dog/more/4.jpg'}


@pytest.mark.parametrize('place, target', [('cat/up', '..'), ('cat/self', '.'), ('cat/root', '../..'), ('cat/side', '../dog'),
                                           ('cat/round', '../cat/deep'), ('loop', '.')])
def test_a_link_to_a_folder_that_is_looked_at_anyway_is_not_followed(make, place, target):
    root = make('train/cat/1.jpg', 'train/cat/deep/2.jpg', 'train/dog/1.jpg', 'val/cat/9.jpg')
    link(root / 'train' / place, target)
    found = to_learn(root)
    assert by_class(found) == {'cat': ['1.jpg', '2.jpg'], 'dog': ['1.jpg']}
    said = f'warning: 1 link to a folder is not followed, because that folder is searched anyway: train/{place} leads to'
    assert place == 'loop' or said in found.notes[-1]


def test_a_folder_elsewhere_is_followed_once_and_never_above(make):
    root = make('set/cat/1.jpg', 'set/dog/1.jpg', 'other/2.jpg', 'other/below/3.jpg')
    link(root / 'other' / 'above', root)
    link(root / 'other' / 'round', root / 'other' / 'below')
    link(root / 'set' / 'cat' / 'a', root / 'other')
    link(root / 'set' / 'dog' / 'b', root / 'other')
    walk = Walk([root / 'set'])
    found = walk.pictures([root / 'set' / name for name in ('cat', 'dog')])
    assert [[os.path.relpath(path, root / 'set') for path in paths] for paths in found] == [
        ['cat/1.jpg', 'cat/a/2.jpg', 'cat/a/below/3.jpg'], ['dog/1.jpg']]
    assert len(walk.turned_back) == 3


@pytest.mark.parametrize('add', [os.link, lambda source, name: link(name, source)], ids=['hard', 'symbolic'])
def test_a_picture_with_two_names_counts_once_and_is_not_learned_where_it_is_evaluated(make, add):
    root = make('train/cat/1.jpg', 'train/cat/2.jpg', 'train/cat/3.jpg', 'train/dog/1.jpg', 'val/cat/9.jpg', 'val/dog/9.jpg')
    add(root / 'train/cat/1.jpg', root / 'val/cat/again.jpg')
    add(root / 'train/cat/2.jpg', root / 'train/cat/twice.jpg')
    learned = to_learn(root)
    assert by_class(learned) == {'cat': ['2.jpg', '3.jpg'], 'dog': ['1.jpg']}
    assert by_class(to_evaluate(root)) == {'cat': ['9.jpg', 'again.jpg'], 'dog': ['9.jpg']}
    assert ('warning: 1 training picture is also evaluated and so left out: train/cat/1.jpg is the same file as '
            'val/cat/again.jpg') in learned.notes
    assert any('has a second name and counts once: train/cat/twice.jpg' in note for note in learned.notes)


@pytest.mark.parametrize('place, target, words', [
    ('val', 'train', 'train/cat has only pictures that are also in .*val/cat and count there: .* is the same file as'),
    ('train/kitty', 'cat', 'train/kitty has no pictures except through a link to .*train/cat, which is searched already')])
def test_a_class_that_is_emptied_by_this_is_named_with_the_other_place(make, place, target, words):
    root = make('train/cat/1.jpg', 'train/dog/1.jpg', *(['val/cat/9.jpg'] if place != 'val' else []))
    link(root / place, target)
    with pytest.raises(UserError, match=words):
        to_learn(root)


def test_names_of_files_within_a_device_are_not_trusted_alone(make, monkeypatch):
    """Some network file systems give all files of a folder the same number."""
    root, add = make(*CAT_DOG), Walk._add
    monkeypatch.setattr(Walk, '_add', lambda self, path, device, number, into: add(self, path, device, 7, into))
    assert len(find_images([str(root)])) == 4 == len(to_learn(root).names) + len(to_evaluate(root).names)


def test_a_link_that_leads_nowhere_is_for_the_reader_to_report(make):
    root = make(*CAT_DOG)
    link(root / 'cat' / 'gone.jpg', 'nowhere.jpg')
    assert any(path.endswith('gone.jpg') for path in find_images([str(root)]))


def test_pictures_of_other_kinds_are_counted_and_named(make, monkeypatch):
    monkeypatch.setattr(kinds, 'endings', lambda: kinds.ALWAYS)
    root = make('train/cat/0.jpg', *(f'train/cat/{i}.HEIC' for i in range(11)), 'train/dog/1.jpg', 'train/dog/2.CR2',
                'val/cat/3.jxl', 'val/cat/1.jpg')
    note, = [note for note in to_learn(root).notes if 'not read' in note]
    assert ': 12 pictures are of kinds that are not read here: 11 .heic, 1 .cr2, e.g. train/cat/' in note
    assert "pip install -e '.[heic]'; convert the others to JPEG or PNG" in note
    assert '1 picture is of a kind that is not read here: 1 .jxl, e.g. val/cat/3.jxl. Convert' in to_evaluate(root).notes[0]
    notes = []
    find_images([str(root)], notes)
    assert '13 pictures' in notes[0]
    (root / 'train/cat/0.jpg').unlink()
    with pytest.raises(UserError, match=r'train/cat: 11 pictures are of kinds that are not read here: 11 .heic'):
        to_learn(root)


# Parts

@pytest.mark.parametrize('train, val', [('train', 'val'), ('Train', 'Val'), ('TRAIN', 'Validation'), ('training', 'testing'),
                                        ('Training', 'Test'), ('images/train', 'images/val'), ('a/b/train', 'a/b/valid'),
                                        ('train/images', 'val/images'), ('data/Train/img', 'data/Test/img')])
def test_parts_are_known_in_any_case_below_a_wrapper_and_with_one_inside(make, train, val):
    root = make(*(f'{train}/{name}' for name in CAT_DOG), f'{val}/dog/9.jpg', 'labels/train/1.txt',
                '__MACOSX/train/cat/._1.jpg')
    assert by_class(to_learn(root)) == {'cat': ['1.jpg', '2.jpg'], 'dog': ['1.jpg', '2.jpg']}
    found = to_evaluate(root)
    assert by_class(found) == {'cat': [], 'dog': ['9.jpg']} and f'no pictures of cat in {val}/' in found.notes
    assert all_classes(root) == ['cat', 'dog'] == of_known(root, ['cat', 'dog']).classes


def test_a_folder_with_train_alone_is_split(make):
    root = make(*(f'train/{name}' for name in CAT_DOG))
    learned, held = to_learn(root), to_evaluate(root)
    assert by_class(learned) == {'cat': ['1.jpg'], 'dog': ['1.jpg']} and by_class(held) == {'cat': ['2.jpg'], 'dog': ['2.jpg']}
    assert learned.notes == ['train/ has no val/ or test/ beside it: a fixed fifth of it is held back for evaluation']
    assert of_known(root, ['dog', 'cat'], whole=False).names == ['dog/2.jpg', 'cat/2.jpg']
    assert len(of_known(root, ['dog', 'cat']).names) == 4


@pytest.mark.parametrize('names', [('train', 'truck', 'ship'), ('test', 'train', 'truck'), ('train/deep', 'truck/deep')])
def test_classes_that_are_called_like_parts_are_classes(make, names):
    root = make(*(f'{name}/{i}.jpg' for name in names for i in range(2)))
    assert to_learn(root).classes == sorted(name.split('/')[0] for name in names)


def test_one_wrapper_around_class_folders_is_seen_through_and_said(make):
    root = make(*(f'pets/{name}' for name in CAT_DOG))
    found = to_learn(root)
    assert found.classes == ['cat', 'dog'] and found.notes == [f'the classes are the folders in {root / "pets"}']


@pytest.mark.parametrize('names, classes, files', [
    (['cat/2020/1.jpg', 'cat/2021/1.jpg'], ['cat', 'dog'], 2), (['train/1.jpg', 'train/2.jpg'], ['train', 'truck'], 2),
    (['train/2020/1.jpg', 'train/2021/1.jpg', 'truck/1.jpg'], ['train', 'truck'], 3)])
def test_a_folder_of_a_known_class_is_no_part_and_no_wrapper(make, names, classes, files):
    found = of_known(make(*names), classes)
    assert len(found.names) == files and by_class(found)[classes[0]]


@pytest.mark.parametrize('names, words', [
    (['train/a/1.jpg', 'train/b/1.jpg', 'truck/1.jpg'], 'beside it truck: is train/ a part or a class'),
    (['train/a/1.jpg', 'Train/a/1.jpg', 'val/a/2.jpg'], 'names of the same part of a data set; wanted one of them'),
    (['train/1.jpg', 'val/2.jpg'], 'train has no folders in it; wanted one per class'),
    (['train/a/1.jpg', 'train/b/1.jpg', 'test/2.jpg'],
     'test has no folders in it; .* Without test/, a fifth of train/ is evaluated'),
    (['train/cat/1.jpg', 'train/dog/1.jpg', 'val/Cat/1.jpg'], r'has the folders Cat \(like cat\?\), which .*train lacks')])
def test_what_can_be_read_in_two_ways_is_refused(make, names, words):
    with pytest.raises(UserError, match=words):
        root = make(*names)
        to_learn(root), to_evaluate(root)


@pytest.mark.parametrize('other', ['dog/', 'dog/notes.txt'])
def test_a_folder_without_pictures_is_a_class_that_lacks_them_and_no_sign_of_a_wrapper(make, other):
    root = make('cat/2020/1.jpg', 'cat/2021/1.jpg', other)
    assert find_layout(root).parts == {'': root}
    with pytest.raises(UserError, match='dog has no images'):
        to_learn(root)


def test_letters_may_be_composed_otherwise_in_the_other_part(make):
    root = make('train/cafe\u0301/1.jpg', 'train/bar/1.jpg', 'val/caf\u00e9/2.jpg')
    assert by_class(to_evaluate(root)) == {'bar': [], 'cafe\u0301': ['2.jpg']}
    assert of_known(root, ['caf\u00e9', 'bar']).names == ['caf\u00e9/2.jpg']


def test_names_that_are_no_text_are_kept(make):
    root = make(*CAT_DOG)
    odd = Path(os.fsdecode(os.fsencode(root) + b'/\xd6\xd0\xce\xc4'))
    (root / 'cat').rename(odd)
    assert [os.fsencode(name) for name in to_learn(root).classes] == [b'dog', b'\xd6\xd0\xce\xc4']
    with pytest.raises(UserError, match=r'has the folders \\xd6\\xd0\\xce\\xc4, which the network does not know'):
        of_known(root, ['dog'])


# Patterns

def test_a_pattern_of_any_depth_goes_through_no_link_for_ever(make, monkeypatch):
    root = make('a/1.jpg', 'a/b/2.png', 'a/.hidden/3.jpg', 'a/@eaDir/4.jpg', 'c/b/5.jpg', 'c/b/notes.txt')
    link(root / 'a' / 'up', '..')
    link(root / 'c' / 'up', '..')
    monkeypatch.chdir(root)
    assert find_images(['**/*.jpg']) == ['a/1.jpg', 'c/b/5.jpg'] == find_images(['**/*.jpg', 'a/1.jpg'])
    assert find_images([f'{root}/*/**/b']) == [f'{root}/a/b/2.png', f'{root}/c/b/5.jpg']
    assert find_images(['a/@eaDir/*.jpg']) == ['a/@eaDir/4.jpg']    # asked for


def test_folders_that_overlap_and_links_that_are_asked_for_are_read_once(make, monkeypatch):
    root = make('a/1.jpg', 'a/b/2.jpg')
    link(root / 'z', 'a')
    monkeypatch.chdir(root)
    for names in (['a', 'a/b'], ['a/b', 'a'], ['a', './a', str(root / 'a')]):
        notes = []
        assert len(find_images(names, notes)) == 2 and notes == []
    assert find_images(['z']) == ['z/1.jpg', 'z/b/2.jpg']
