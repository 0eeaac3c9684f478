"""Fine-tuning: a frozen part, the classifier alone, another rate for the classifier."""
import numpy as np
import pytest
from safetensors.numpy import load_file

import image_classification as ic
from image_classification.engine.freeze import Freeze
from image_classification.engine.optim import build_optimizer
from tests.engine.faults import in_processes
from tests.engine.test_trainer import assert_same_file, message, metrics, train

HEAD = ('model.classifier.weight', 'model.classifier.bias')


def changed(before, after):
    """Names of the network's arrays that a training has changed, running statistics included."""
    before, after = load_file(before), load_file(after)
    return {name for name in before if name.startswith('model.') and (before[name] != after[name]).any()}


@pytest.fixture(scope='module')
def begun(tiny_in, tmp_path_factory):
    """The checkpoint of a training that has gone one step."""
    return train(tiny_in(tmp_path_factory.mktemp('begun'), TRAIN__MAX_STEPS=1)) / 'last.safetensors'


@pytest.mark.parametrize('options', [{}, {'TRAIN__OPTIMIZER__NAME': 'SGD'}, {'TRAIN__OPTIMIZER__NAME': 'RMSprop'},
                                     {'MODEL__GRAD_CHECKPOINTING': True, 'MODEL__DROPPATH': 0.5},
                                     {'TRAIN__MODEL_EMA': True, 'TRAIN__ACCUM_ITER': 2, 'TRAIN__GRAD_CLIP': 1.0}])
def test_with_the_backbone_frozen_the_classifier_alone_changes(tiny, begun, options):
    directory = train(tiny(TRAIN__FREEZE=['backbone'], PRETRAINED=str(begun), TRAIN__NUM_EPOCHS=1, **options))
    assert changed(begun, directory / 'last.safetensors') == set(HEAD)
    before = load_file(begun)
    ema = {name[4:]: value for name, value in load_file(directory / 'last.safetensors').items() if name.startswith('ema.')}
    for name in ema.keys() - {name[6:] for name in HEAD}:
        np.testing.assert_array_equal(ema[name], before[f'model.{name}'], err_msg=name)
    assert '; 514 parameters are trained throughout' in (directory / 'log.txt').read_text()


def test_a_prefix_freezes_its_layers_and_no_others(tiny, begun):
    directory = train(tiny(TRAIN__FREEZE=['conv_stem', 'blocks.0'], PRETRAINED=str(begun), TRAIN__NUM_EPOCHS=1))
    names = changed(begun, directory / 'last.safetensors')
    assert not [name for name in names if name.startswith(('model.conv_stem.', 'model.blocks.0.'))]
    assert 'model.bn1._mean' in names and len(names) > 40


def test_layers_that_are_frozen_whole_stay_in_evaluation_mode():
    model = ic.create_model('mobilenet_v1_x0_25')
    freeze = Freeze(model, ['blocks.0', 'classifier.bias'], 0)
    model.train()
    freeze.begin(0)
    assert not any(layer.training for layer in model.blocks[0].sublayers(include_self=True))
    assert model.blocks[1][0].training and model.classifier.training and model.training
    assert model.classifier.bias.stop_gradient and not model.classifier.weight.stop_gradient


def test_batch_norms_keep_their_statistics_and_the_rest_learns(tiny, begun):
    options = {'TRAIN__FREEZE_BN': True, 'TRAIN__FREEZE': ['backbone'], 'TRAIN__FREEZE_EPOCHS': 1, 'PRETRAINED': str(begun)}
    whole, stopped = (train(tiny(**options, TRAIN__MAX_STEPS=steps)) for steps in (0, 8))
    names = changed(begun, whole / 'last.safetensors')
    assert not [name for name in names if name.endswith(('._mean', '._variance'))]
    assert 'model.conv_stem.weight' in names and 'model.bn1.weight' in names
    train(tiny(**options, RESUME=str(stopped)))
    assert_same_file(whole / 'last.safetensors', stopped / 'last.safetensors')


def test_a_name_ends_at_a_dot():
    model = ic.create_model('mobilenet_v3_small_x1_0')
    Freeze(model, ['features.1'], 0)
    stopped = {name.split('.')[1] for name, p in model.named_parameters() if p.stop_gradient and '._' not in name}
    assert stopped == {'1'}                                        # and not 10, 11, 12


def test_after_freeze_epochs_everything_learns_and_a_resumed_run_is_the_same(tiny, begun):
    options = {'TRAIN__FREEZE': ['backbone'], 'TRAIN__FREEZE_EPOCHS': 1, 'PRETRAINED': str(begun),
               'TRAIN__MODEL_EMA': True}
    whole = train(tiny(**options))
    assert changed(begun, whole / 'last-1.safetensors') == set(HEAD)   # after the first epoch
    assert len(changed(begun, whole / 'last.safetensors')) > 40
    for steps in (2, 8):                                           # in the frozen epoch, and in the other one
        stopped = train(tiny(**options, TRAIN__MAX_STEPS=steps))
        train(tiny(**options, RESUME=str(stopped)))
        assert_same_file(whole / 'last.safetensors', stopped / 'last.safetensors')
        assert metrics(whole, 'train') == metrics(stopped, 'train')


@pytest.mark.parametrize('epochs', [0, 1])
def test_two_processes_freeze_alike(tiny, begun, epochs):
    run = in_processes(2, tiny(TRAIN__FREEZE=['backbone'], TRAIN__FREEZE_EPOCHS=epochs, PRETRAINED=str(begun)))
    names = changed(begun, run / 'last.safetensors')
    assert names == set(HEAD) if not epochs else len(names) > 40
    assert changed(begun, run / 'last-1.safetensors') == set(HEAD)


@pytest.mark.parametrize('options, words', [
    ({'TRAIN__FREEZE': ['conv_sten']}, 'conv_stem'),
    ({'TRAIN__FREEZE': ['backbone', 'classifier']}, 'nothing to train')])
def test_what_cannot_be_frozen_is_said(tiny, options, words):
    assert words in message(tiny(**options))


def test_the_rate_of_the_classifier_is_multiplied_after_layer_decay():
    for decay, in_front in ((1.0, 1.0), (0.5, 0.5)):
        cfg = ic.get_config('mobilenet_v1_x0_25', {'TRAIN.HEAD_LR_SCALE': 10.0, 'TRAIN.LAYER_DECAY': decay,
                                                   'DATA.IMAGE_SIZE': 32})
        model = ic.create_model(cfg)
        build_optimizer(cfg, model)
        rates = {name: p.optimize_attr['learning_rate'] for name, p in model.named_parameters()}
        assert rates['classifier.weight'] == rates['classifier.bias'] == 10
        assert rates['blocks.4.0.conv_dw.weight'] == in_front


def test_one_step_of_the_classifier_is_so_many_times_as_large(tiny):
    options = {'TRAIN__MAX_STEPS': 1, 'TRAIN__OPTIMIZER__NAME': 'SGD', 'TRAIN__WEIGHT_DECAY': 0.0}
    still, once, ten = (load_file(train(tiny(**options, **more)) / 'last.safetensors') for more in (
        {'TRAIN__BASE_LR': 1e-12, 'TRAIN__END_LR': 1e-12}, {}, {'TRAIN__HEAD_LR_SCALE': 10.0}))
    for name, factor in ((HEAD[1], 10), ('model.conv_stem.weight', 1)):
        np.testing.assert_allclose(ten[name] - still[name], factor * (once[name] - still[name]), rtol=2e-2, atol=1e-7)
