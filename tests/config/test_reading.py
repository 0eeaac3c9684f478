"""Text of yaml files: what is refused, and on which line it stands."""
import pytest

import image_classification as ic
from image_classification.config import get_config
from image_classification.config.reading import NoYaml, line_of, parsed

LAUGHS = 'a0: &a0 [1, 2]\n' + ''.join(f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 10))
CHAIN = 'a0: &a0 [1]\n' + ''.join(f'a{i}: &a{i} [*a{i - 1}]\n' for i in range(1, 3000))


@pytest.mark.parametrize('text, words', [
    ('TRAIN:\n  BASE_LR: 1\nDATA: {}\nTRAIN:\n  NUM_EPOCHS: 3', 'line 4: TRAIN is there twice, first on line 1'),
    ('TRAIN:\n  BASE_LR: 1\n  BASE_LR: 1', 'line 3: TRAIN.BASE_LR is there twice, first on line 2'),
    ('TRAIN: {BASE_LR: 1, base_lr: 2}', 'line 1: TRAIN.base_lr is there twice'),
    ('SEED: 1\n"SEED": 2', 'line 2: SEED is there twice'),
    ('[' * 3000, 'more than 20|depth'),
    ('SEED:\n  ' + '[' * 30 + ']' * 30, 'line 2: more than 20 groups or lists'),
    ('- ' * 3000 + 'x', 'more than 20 groups|depth'),
    ('{a: ' * 3000, 'more than 20|depth'), ('a: &a [*a]', 'line 1: more than 20'),
    (LAUGHS, 'line 6: 311111 values'), (CHAIN, 'more than 20'),
    ('\nTRAIN: 3', 'line 2: TRAIN is 3; wanted a group of keys: NUM_EPOCHS, MAX_STEPS'),
    ('TRAIN: [BASE_LR]', 'line 1: TRAIN is .*; wanted a group of keys'),
    ('TRAIN:\n  BASE_LR: {a: 1}', r"line 2: TRAIN.BASE_LR is \{'a': 1\} \(dict\); wanted a number"),
    ('DATA:\n  DATA_PATH:\n    - a', r"line 2: DATA.DATA_PATH is \['a'\] \(list\); wanted a text"),
    ('SEED:\n  A: 1', 'line 1: SEED is .*; wanted a whole number'),
    ('MODEL:\n  WEIGHTS: [5]', r'line 2: PUBLISHED.WEIGHTS\[0\] is 5'),
    ('\nMODEL: {TYPE: [1]}', 'line 2: MODEL.TYPE is'), ('SEED: 2020-13-45', "line 1: '2020-13-45' is no date"),
    ('SEED: ' + '9' * 5000, 'line 1: .* is no number'), ('SEED: !!bool x', "'x' is no switch"),
    ('SEED: !!timestamp x', 'no date'),
    ('SEED: !!python/object:os.system x', 'cannot be read as yaml'), ('SEED: !!binary x', 'cannot be read as yaml'),
    ('A: 1\n---\nA: 2', 'cannot be read as yaml'), ('SEED: 3\n\tA: 1', 'cannot be read as yaml'),
    ('SEED: 3\n? [a]\n: 3', 'cannot be read as yaml'), ('3', 'holds 3; wanted groups'),
    ('BASE: 5', 'line 1: BASE is 5; wanted a list of yaml files or of models'),
    ('BASE: {xception: 1}', 'BASE is .*; wanted a list'),
    ('BASE: [[xception]]', 'BASE is .*; wanted a list'), ('SAVE: "a\\0b"', 'line 1: SAVE is .*wanted a text')])
def test_a_fault_is_named_with_its_line(tmp_path, text, words):
    path = tmp_path / 'wrong.yaml'
    path.write_text(text)
    with pytest.raises(ic.UserError, match=words) as caught:
        get_config(path)
    assert str(path) in str(caught.value) and len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 800


def test_what_is_no_yaml_is_told_from_what_is_refused():
    with pytest.raises(NoYaml):
        parsed('a: [', 'it')
    with pytest.raises(ic.UserError) as caught:
        parsed('{a: 1, a: 1}', 'it')
    assert not isinstance(caught.value, NoYaml)


def test_names_of_parts_and_keys_in_two_cases_are_read_elsewhere():
    assert parsed('a: &a {x: 1}\nb: {<<: *a, y: 2}', 'it') == {'a': {'x': 1}, 'b': {'x': 1, 'y': 2}}
    assert parsed('{a: 1, A: 2}', 'it') == {'a': 1, 'A': 2} and parsed('', 'it') is None


def test_a_line_is_that_of_the_key_or_of_the_group_around_it():
    text = '# a comment\nTRAIN:\n\n  OPTIMIZER: {NAME: SGD,\n    EPS: 1}\nSEED: 3'
    lines = {'TRAIN': 2, 'TRAIN.OPTIMIZER.NAME': 4, 'TRAIN.OPTIMIZER.EPS': 5, 'train.optimizer.none': 4, 'SEED': 6,
             'SEED.A': 6, 'DATA': 0}
    assert {key: line_of(text, key) for key in lines} == lines
