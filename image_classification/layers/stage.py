"""A sequence of blocks with optional gradient checkpointing (https://arxiv.org/abs/1604.06174)."""
import paddle
from paddle import nn
from paddle.distributed.fleet.utils import recompute

from image_classification.errors import UserError
from image_classification.layers.statistics import running_statistics


class Stage(nn.Sequential):
    """A sequence of blocks that pass on one map, or several tensors.

    With `checkpointing`, training stores only the inputs of each block, and the backward pass runs the block again.
    """

    checkpointing = False

    def forward(self, x):
        for block in self:
            x = self._run(block, x)
        return x

    def outputs(self, levels, *inputs):
        """The outputs of the blocks with the indices `levels`. Blocks after the last of these do not run."""
        found = []
        for i in range(max(levels) + 1):
            result = self._run(self[i], *inputs)
            inputs = result if isinstance(result, (list, tuple)) else (result,)
            if i in levels:
                found.append(result)
        return found

    def _run(self, block, *inputs):
        wanted = self.checkpointing and self.training and paddle.in_dynamic_mode() and paddle.is_grad_enabled()
        if not wanted or all(x is None or x.stop_gradient for x in inputs):
            return block(*inputs)
        # use_reentrant=False ends in a segmentation fault before Paddle 3.3. With True, parameters learn only if an input has
        # a gradient, which was checked above.
        return recompute(_TwoRuns(block), *inputs, use_reentrant=True)


class _TwoRuns:
    """A block that runs again in the backward pass. In this second run, batch norms must not update their statistics."""

    def __init__(self, block):
        self.block, self.runs = block, 0

    def __call__(self, *inputs):
        self.runs += 1
        if self.runs == 1:
            return self.block(*inputs)
        statistics = running_statistics(self.block.state_dict()).values()
        before = [tensor.clone() for tensor in statistics]
        result = self.block(*inputs)
        for tensor, value in zip(statistics, before):
            tensor.set_value(value)
        return result


def set_checkpointing(model, enabled=True):
    """Switch gradient checkpointing on or off in all stages of a network. Raises UserError if the network has no Stage."""
    stages = [layer for layer in model.sublayers(include_self=True) if isinstance(layer, Stage)]
    if not stages:
        raise UserError(f'{type(model).__name__} has no deep stage to checkpoint; set MODEL.GRAD_CHECKPOINTING to False')
    for stage in stages:
        stage.checkpointing = enabled
