"""Curves for TensorBoard. VisualDL's writer has the same three calls."""
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from image_classification.engine import visual
from image_classification.errors import UserError
from tests.engine.test_trainer import message, metrics, train


def scalars(directory):
    """{tag: {step: value}} of the event files, in the order in which they were begun."""
    found = {}
    for path in sorted((directory / 'tensorboard').glob('events*')):
        data, at = path.read_bytes(), 0
        while at < len(data):                                      # length, its checksum, event, its checksum
            length, = struct.unpack_from('<Q', data, at)
            event = Event.FromString(data[at + 12:at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_tensorboard_gets_what_the_metrics_have_and_a_resumed_run_goes_on_there(tiny):
    options = {'VISUAL': 'tensorboard', 'TRAIN__NUM_EPOCHS': 1}
    directory = train(tiny(**options, TRAIN__MAX_STEPS=3))
    train(tiny(**options, RESUME='auto'))
    found = scalars(directory)
    assert set(found) == {'train/loss', 'train/lr', 'train/images_per_second', 'train/waiting', 'eval/loss', 'eval/top1',
                          'eval/top5'}
    for kind, name in (('train', 'loss'), ('train', 'lr'), ('eval', 'top1'), ('eval', 'loss')):
        rows = {row['step']: row[name] for row in metrics(directory, kind)}
        assert rows and found[f'{kind}/{name}'] == pytest.approx(rows, rel=1e-6)


def test_a_package_that_is_missing_is_said_before_training_starts(tiny, monkeypatch):
    monkeypatch.setitem(visual.PACKAGES, 'tensorboard', 'no_such_package')
    text = message(tiny(VISUAL='tensorboard'))
    assert 'no_such_package is not installed' in text and "'.[tensorboard]'" in text


def test_another_program_is_refused(tiny):
    with pytest.raises(UserError, match='VISUAL is .wandb.; wanted visualdl or tensorboard'):
        tiny(VISUAL='wandb')
