import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.config import model_yamls
from image_classification.engine.processes import distributed
from image_classification.engine.processes.distributed import Group
from image_classification.engine.sync_batch_norm import with_sync_batch_norm

FAMILIES = sorted({path.parent.name: name for name, path in model_yamls().items()}.values())  # one network of each
TWO = Group(rank=0, world_size=2)


def convert(name, monkeypatch, gpus=2, group=TWO, on=True):
    monkeypatch.setattr(distributed, 'gpu_count', lambda: gpus)
    cfg = ic.get_config(name, {'TRAIN.SYNC_BN': on})
    model = ic.create_model(cfg)
    before = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    return (before, *with_sync_batch_norm(cfg, model, group))


def kinds(model):
    norms = paddle.nn.layer.norm._BatchNormBase
    return {type(layer) for layer in model.sublayers() if isinstance(layer, norms)}


# Batch norms in sequences, of one axis, and in layers of their own; then all families.
@pytest.mark.parametrize('name', ['mobilenet_v1_x0_25', 'efficientvit_m0', 'mobileformer_26m',
                                  *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES)])
def test_every_batch_norm_is_converted_with_its_name_and_weights(name, monkeypatch):
    """Of all families: python -m pytest -m slow tests/engine/test_sync_batch_norm.py"""
    before, model, _ = convert(name, monkeypatch)
    after = model.state_dict()
    assert after.keys() == before.keys() and kinds(model) <= {paddle.nn.SyncBatchNorm}
    for key, value in before.items():
        np.testing.assert_array_equal(after[key].numpy(), value)


def test_a_cpu_keeps_its_batch_norms_and_says_so(monkeypatch):
    _, model, notes = convert('mobilenet_v1_x0_25', monkeypatch, gpus=0)
    assert paddle.nn.SyncBatchNorm not in kinds(model) and 'SYNC_BN is for GPUs' in notes[0]


@pytest.mark.parametrize('options', [{'group': Group()}, {'on': False}])
def test_one_process_or_no_wish_changes_nothing(monkeypatch, options):
    _, model, notes = convert('mobilenet_v1_x0_25', monkeypatch, **options)
    assert paddle.nn.SyncBatchNorm not in kinds(model) and notes == []
