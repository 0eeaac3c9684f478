from dataclasses import dataclass, field

import pytest
from paddle import nn

import image_classification as ic
from image_classification.engine.processes.distributed import Group
from image_classification.layers import running_statistics
from image_classification.engine.trainer import train_or_evaluate


@dataclass(frozen=True)
class NotingGroup(Group):
    """One process that notes how many tensors it would average with others, at each call."""
    averaged: list = field(default_factory=list)

    def average_(self, tensors):
        self.averaged.append(len(list(tensors)))


@pytest.mark.parametrize('name', ['efficientvit_m0', 'mobileformer_26m'])
def test_are_the_mean_and_the_variance_of_every_batch_norm(name):
    model = ic.create_model(name)
    norms = [layer for layer in model.sublayers() if isinstance(layer, (nn.BatchNorm1D, nn.BatchNorm2D))]
    found = {id(tensor) for tensor in running_statistics(model.state_dict()).values()}
    assert norms and found == {id(tensor) for norm in norms for tensor in (norm._mean, norm._variance)}


def test_the_processes_average_those_of_the_network_and_of_its_moving_average_before_an_evaluation(tiny):
    group = NotingGroup()
    cfg = tiny(TRAIN__MODEL_EMA=True, TRAIN__MAX_STEPS=1)          # with TRAIN.PRECISE_BN, exact ones would replace them
    train_or_evaluate(cfg, group)
    count = len(running_statistics(ic.create_model(cfg).state_dict()))
    gradients, statistics = group.averaged                         # the former in two arrays, with weight decay and without
    assert count and (gradients, statistics) == (2, 2 * count)
