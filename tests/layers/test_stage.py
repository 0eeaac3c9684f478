"""Stages, their gradient checkpoints, and what else networks have in common."""
import paddle
import pytest
from paddle import nn
from paddle.base.core import host_memory_stat_current_value

import image_classification as ic
from image_classification.layers import Stage, check_size, levels_of, running_statistics, set_checkpointing


class Counted(nn.Layer):
    """A convolution, batch norm and dropout, which counts its runs."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2D(3, 3, 3, padding=1), nn.BatchNorm2D(3), nn.Dropout(0.3)
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        return self.drop(self.norm(self.conv(x)))


def trained(checkpointing):
    """A stage after one backward pass, and what it gave."""
    paddle.seed(0)
    stage = Stage(*[Counted() for _ in range(3)])
    set_checkpointing(stage, checkpointing)
    images = paddle.randn([2, 3, 8, 8])
    paddle.seed(1)
    result = stage(images)
    result.square().sum().backward()
    return stage, result


def test_checkpointing_changes_neither_results_nor_gradients_nor_running_statistics():
    (plain, result), (saving, same) = trained(False), trained(True)
    assert (result == same).all()
    for (name, wanted), found in zip(plain.named_parameters(), saving.parameters()):
        assert wanted.stop_gradient or (wanted.grad == found.grad).all(), name
    statistics = running_statistics(plain.state_dict())
    assert len(statistics) == 6
    for name, wanted in statistics.items():
        assert (wanted == saving.state_dict()[name]).all(), name


def test_checkpointed_blocks_run_again_in_the_backward_pass():
    assert [block.runs for block in trained(True)[0]] == [1, 2, 2]  # nothing before the first one takes a gradient
    assert [block.runs for block in trained(False)[0]] == [1, 1, 1]


def test_checkpointed_blocks_run_once_in_evaluation_and_without_gradients():
    stage, _ = trained(True)
    runs = [block.runs for block in stage]
    stage.eval()(paddle.randn([1, 3, 8, 8]))
    with paddle.no_grad():
        stage.train()(paddle.randn([1, 3, 8, 8]))
    assert [block.runs for block in stage] == [run + 2 for run in runs]


def test_checkpointing_keeps_less_in_memory():
    def kept(checkpointing):
        model = ic.create_model('uniformer_small', grad_checkpointing=checkpointing)
        images = paddle.rand([2, 3, 64, 64])
        before = host_memory_stat_current_value('Allocated', 0)
        logits = model(images)
        return host_memory_stat_current_value('Allocated', 0) - before, logits
    assert kept(True)[0] < 0.5 * kept(False)[0]


def test_a_network_without_stages_says_so():
    with pytest.raises(ic.UserError, match='GoogLeNet has no deep stage'):
        ic.create_model('googlenet', grad_checkpointing=True)


def test_outputs_stop_behind_the_last_level_that_is_asked_for():
    stage = Stage(*[Counted() for _ in range(3)])
    first, second = stage.outputs([0, 1], paddle.randn([1, 3, 8, 8]))
    assert first.shape == second.shape and [block.runs for block in stage] == [1, 1, 0]


def test_levels_are_the_last_steps_at_each_stride():
    assert levels_of([2, 1, 2, 1, 1, 2]) == ([1, 4, 5], [2, 4, 8])


def test_small_images_are_refused_with_the_least_size():
    check_size(paddle.zeros([1, 3, 32, 40]), 32, 'It')
    with pytest.raises(ic.UserError, match='It takes images of at least 32 x 32 pixels, found 31 x 40'):
        check_size(paddle.zeros([1, 3, 31, 40]), 32, 'It')
