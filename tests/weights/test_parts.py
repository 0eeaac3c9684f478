"""Which part of what a training program saved is a network's."""
import numpy as np
import pytest

from image_classification.weights.parts import entries, find_part

KEYS = {'stem.weight': (4, 3, 3, 3), 'norm.weight': (4,), 'norm.running_mean': (4,), 'head.weight': (5, 4), 'head.bias': (5,)}
OWN = {**{key: shape for key, shape in KEYS.items() if key != 'norm.running_mean'}, 'norm._mean': (4,), 'head.weight': (4, 5)}
KNOWN = {'official': KEYS, 'paddle': OWN}


def state(prefix='', seed=0, shapes=KEYS):
    rng = np.random.default_rng(seed)
    return {prefix + key: rng.standard_normal(shape) for key, shape in shapes.items()}


def part_of(content):
    return find_part(entries(content, lambda value: value if isinstance(value, np.ndarray) else None), KNOWN)


def without_head(prefix):
    return {key: value for key, value in state(prefix).items() if 'head' not in key}


ADAM = {'state': {0: {'exp_avg': np.ones((4, 3, 3, 3)), 'step': np.array(7)}}, 'param_groups': [{'lr': 0.1, 'params': [0]}]}
TWO = {**state('Student.'), **state('Teacher.', 1)}
WRAPPED = [
    (state(), ''), (state('module.'), 'module.'), (state('_orig_mod.'), '_orig_mod.'),
    (state('module._orig_mod.'), 'module._orig_mod.'), (state('_orig_mod.module.'), '_orig_mod.module.'),
    (state('model.'), 'model.'), (state('backbone.'), 'backbone.'), (state('a.b.c.d.'), 'a.b.c.d.'),
    ({'state_dict': state('model.'), 'epoch': 3, 'optimizer_states': [ADAM]}, 'state_dict.model.'),
    ({'model_state_dict': state(), 'optimizer_state_dict': ADAM, 'loss': 0.5}, 'model_state_dict.'),
    ({'net': state(), 'acc': 91.2, 'epoch': 7}, 'net.'), ([{'state_dict': state()}], '0.state_dict.'),
    ((1, [state()]), '1.0.'), ({'a': {'b': {'c': state('module.')}}}, 'a.b.c.module.'),
    ({'model': state(), 'ema': state('module.', 1)}, 'ema.module.'),
    ({'ema_state_dict': state(), 'state_dict': state()}, 'ema_state_dict.'),
    ({'model': state(), 'swa_model': {**state('module.', 1), 'n_averaged': np.array(9)}}, 'swa_model.module.'),
    ({'student': state('module.backbone.'), 'teacher': state('backbone.', 1)}, 'student.module.backbone.'),
    (TWO, 'Student.'), ({'best': state(), 'model': state(seed=1)}, 'model.'),
    # Only what fits: a teacher of another size, an average without the statistics, optimizers, which have names and shapes.
    ({**state('student.'), **state('ema.', shapes={**KEYS, 'stem.weight': (8, 3, 3, 3)})}, 'student.'),
    ({'ema': {key: value for key, value in state().items() if 'running' not in key}, 'model': state()}, 'model.'),
    ({**state('optimizer.exp_avg.'), **state('model.')}, 'model.'), (list(state('module.').items()), 'module.'),
    ({**state('teacher.', 1), **state(), **state('module.teacher.', 2)}, ''), ({**state('ema.', 1), **state()}, 'ema.'),
    ({**state('optimized_model.'), **state('optimizer_state.exp_avg.')}, 'optimized_model.'),
    ({'optim': {'exp_avg': state()}, 'net': state()}, 'net.'),
]


@pytest.mark.parametrize('content, prefix', WRAPPED)
def test_the_prefix_behind_which_most_entries_fit_is_taken(content, prefix):
    part = part_of(content)
    assert part.prefix.startswith(prefix) and part.state.keys() == KEYS.keys() and part.style == 'official'
    assert part.note().startswith(f'taken from {part.prefix}*' if prefix else '')


def test_the_numbers_are_those_behind_the_prefix():
    for content, prefix in (({**state('module.', 1), **state()}, ''), ({**state(), **state('ema.', 1)}, 'ema.')):
        part = part_of(content)
        assert part.prefix == prefix and all((value == content[prefix + key]).all() for key, value in part.state.items())
        assert part.others == [{'': 'module.', 'ema.': ''}[prefix]]


def test_a_plain_state_dict_needs_no_words():
    assert part_of({**state(), 'norm.num_batches_tracked': np.array(9)}).note() == ''
    assert part_of({'optimizer': ADAM, **state(shapes=OWN)}).style == 'paddle'


@pytest.mark.parametrize('content, words', [
    (TWO, 'taken from Student.*; Teacher.* would fit as well'),
    ([state(), state(seed=1)], 'taken from 0.*; 1.* would fit as well'),
    ({**state('model.'), 'criterion.weight': np.ones(5)}, 'taken from model.*; passed over criterion.weight'),
    ({**state(), 'decoder_embed.weight': np.ones((3, 3)), 'mask_token': np.ones((1, 1, 3))},
     'passed over decoder_embed.weight, mask_token'),
    ({**without_head('backbone.'), **{f'head.{key}': np.ones(5) for key in 'abcd'}},
     'taken from backbone.*; passed over head.a, head.b, head.c and 1 more'),
    ({**without_head('backbone.'), 'head.weight': np.ones((5, 4)), 'head.bias': np.ones(5)},
     'taken from backbone.*; head.weight, head.bias from in front of that')])
def test_what_was_taken_and_what_was_not_is_said(content, words):
    assert part_of(content).note().startswith(words)


def test_two_parts_of_the_same_numbers_are_no_question():
    assert part_of({'model': state(), 'state_dict': state()}).others == []


@pytest.mark.parametrize('inside', ['_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_orig_mod', 'module'])
def test_wrappers_of_single_layers_go_too(inside):
    content = {key.replace('stem.', f'stem.{inside}.'): value for key, value in state('model.').items()}
    assert part_of(content).state.keys() == KEYS.keys()


def test_a_networks_own_layer_of_such_a_name_stays():
    keys = {'module.weight': (4,), 'module.bias': (4,)}
    found = entries(state('_orig_mod.', shapes=keys), lambda value: value)
    assert find_part(found, {'': keys}).state.keys() == keys.keys()


@pytest.mark.parametrize('content', [state(shapes={**KEYS, 'extra.weight': (4, 4)}),
                                     state('model.', shapes={**KEYS, 'head.scale': (2,)})])
def test_entries_that_the_network_lacks_are_left_for_the_strict_check(content):
    assert len(part_of(content).state) == len(KEYS) + 1


def test_names_count_where_no_shape_fits():
    wide = {key: (9, *shape[1:]) for key, shape in KEYS.items()}
    assert part_of({'state_dict': state('model.', shapes=wide)}).state.keys() == KEYS.keys()


@pytest.mark.parametrize('content, keys', [
    ({'x': np.ones(3)}, {'x'}), ({'state_dict': {'x': np.ones(3)}, 'y': np.ones(2)}, {'x'}), ({'module.x': np.ones(3)}, {'x'}),
    ({}, set())])
def test_of_a_file_of_another_network_the_state_dict_is_compared(content, keys):
    assert part_of(content).state.keys() == keys


def test_a_file_that_refers_to_itself_or_unfolds_takes_no_time():
    content = state()
    for _ in range(80):
        content = {'a': content, 'b': content, 'c': [content]}
    assert part_of(content).state == {}
    content['a'] = content
    assert part_of(content).state == {}
