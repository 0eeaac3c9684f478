"""Options of optimization together, in short trainings."""
import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file

import image_classification as ic
from image_classification.engine.processes.distributed import Group
from image_classification.engine.trainer import train_or_evaluate
from image_classification.weights import write_safetensors

OPTIONS = [
    {'TRAIN__OPTIMIZER__NAME': 'RMSprop', 'TRAIN__OPTIMIZER__EPS': 1e-3, 'TRAIN__LR_SCHEDULE': 'exponential',
     'TRAIN__DECAY_EPOCHS': 0.5, 'TRAIN__BASE_LR': 1e-3, 'TRAIN__MODEL_EMA': True, 'TRAIN__MODEL_EMA_WARMUP': False},
    {'TRAIN__OPTIMIZER__NAME': 'SGD', 'TRAIN__OPTIMIZER__NESTEROV': True, 'TRAIN__NO_DECAY_1D': False,
     'TRAIN__LR_SCHEDULE': 'step', 'TRAIN__DECAY_EPOCHS': 0.5, 'TRAIN__LOSS': 'bce',
     'TRAIN__GRAD_CLIP': 0.02, 'TRAIN__GRAD_CLIP_MODE': 'agc'},
    {'TRAIN__LAYER_DECAY': 0.8, 'TRAIN__LR_SCHEDULE': 'poly', 'TRAIN__COOLDOWN_EPOCHS': 0.5, 'TRAIN__DISTILL__KIND': 'hard'},
]


@pytest.fixture
def weights(tmp_path):
    """A file with the weights of a small teacher of two classes."""
    paddle.seed(5)
    model = ic.create_model('mobilenet_v1_x0_25', num_classes=2)
    path = tmp_path / 'teacher.safetensors.weights'
    write_safetensors(path, {name: tensor.numpy() for name, tensor in model.state_dict().items()}, {})
    return path


def train(cfg):
    """Run a training; returns its directory, the newest."""
    train_or_evaluate(cfg, Group())
    return max(Path(cfg.SAVE).iterdir(), key=lambda path: path.stat().st_ctime)


@pytest.mark.parametrize('options', OPTIONS, ids=['rmsprop', 'sgd', 'adamw'])
def test_a_resumed_run_is_bit_for_bit_the_one_that_was_not_stopped(tiny, weights, options):
    if 'TRAIN__DISTILL__KIND' in options:
        options = {**options, 'TRAIN__DISTILL__TEACHER': 'mobilenet_v1_x0_25', 'TRAIN__DISTILL__WEIGHTS': str(weights)}
    options = {**options, 'TRAIN__MIXUP_ALPHA': 0.5}
    whole = train(tiny(**options, SAVE=str(weights.parent / 'whole')))
    parts = [tiny(**options, SAVE=str(weights.parent / 'parts'), TRAIN__MAX_STEPS=steps, RESUME='auto')
             for steps in (5, 0)]
    stopped = [train(cfg) for cfg in parts][-1]
    a, b = (load_file(directory / 'last.safetensors') for directory in (whole, stopped))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_the_schedule_reaches_the_log(tiny):
    cfg = tiny(TRAIN__LR_SCHEDULE='step', TRAIN__DECAY_MILESTONES=[1], TRAIN__BASE_LR=0.01)
    rows = [json.loads(line) for line in (train(cfg) / 'metrics.jsonl').read_text().splitlines()]
    assert [row['lr'] for row in rows if row['kind'] == 'train'] == pytest.approx([0.01] * 3 + [0.001] * 3)


@pytest.mark.parametrize('key, value', [('LR_SCHEDULE', 'linear'), ('LOSS', 'mse'), ('GRAD_CLIP_MODE', 'all'),
                                        ('LAYER_DECAY', 2.0), ('BASE_LR', float('nan')), ('MODEL_EMA_DECAY', 2.0)])
def test_a_bad_value_that_was_set_by_hand_gets_one_message_and_leaves_no_run(tiny, key, value):
    cfg = tiny().clone()
    cfg.defrost()
    cfg.TRAIN[key] = value
    with pytest.raises(ic.UserError, match=f'TRAIN.{key} is'):
        train_or_evaluate(cfg, Group())
    assert not Path(cfg.SAVE).exists()
