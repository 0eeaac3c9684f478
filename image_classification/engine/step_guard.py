"""Skip steps whose loss or gradient is not finite. They are skipped in all processes and recorded; too many end the run."""
import numpy as np
import paddle

from image_classification.cpu.paddle_internals import all_finite
from image_classification.cpu.training_step import Joiner
from image_classification.errors import UserError
from image_classification.layers import running_statistics

BAD_BATCHES = 'bad_batches.jsonl'


class StepGuard:
    """Decides at the end of each step whether to apply its gradients, and whether to stop training.

    Call `begin()` before the step's first forward pass, and `passes(losses)` after its last backward pass. A step that does
    not pass leaves no trace in the network: its running statistics are restored here, and the caller must drop its gradients.
    All processes get the same answer.

    `gather`, if the optimizer has it, returns the gradients as a few long arrays.
    """

    def __init__(self, model, group, limit, gather=None):
        self.model, self.group, self.limit, self.gather = model, group, limit, gather
        self.parameters = [parameter for parameter in model.parameters() if not parameter.stop_gradient]
        self.statistics = list(running_statistics(model.state_dict()).values())
        self.join = Joiner()
        self.in_a_row = self.total = 0
        self.stop = False                                          # some process was asked to stop, and all know it

    def begin(self):
        self.before = self.join(self.statistics) if self.statistics else None   # a copy

    def passes(self, losses, asked_to_stop):
        """Whether the losses of a step (one tensor per batch) and its gradients are finite in all processes.

        The same exchange between processes sets `stop` to whether any of them was asked to stop.
        """
        self.finite = bool(np.isfinite(float(sum(losses)))) and self._finite_gradients()
        bad, stop = self.group.sum([not self.finite, asked_to_stop])
        self.stop = stop > 0
        if not bad:
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        self.total += 1
        if self.statistics:
            self._restore()
        return False

    @paddle.no_grad()
    def _restore(self):
        parts = self.before.split([tensor.size for tensor in self.statistics])
        for tensor, value in zip(self.statistics, parts):
            tensor.set_value(value.reshape(tensor.shape))

    def report(self, log, step, losses, files):
        """Record the batches of a step that did not pass.

        Args:
            files: [[path, ...], ...], one list per batch of this process.
        Raises:
            UserError: TRAIN.MAX_BAD_STEPS such steps have come in a row. Raised in all processes.
        """
        mine = [{'step': step, 'process': self.group.rank, 'finite': self.finite, 'loss': str(float(loss)), 'files': names}
                for loss, names in zip(losses, files)]
        for rows in self.group.gather_objects(mine):
            log.append(BAD_BATCHES, *rows)
        log.line(f'step {step} skipped: its loss or gradient is not finite ({self.in_a_row} in a row, {self.total} in all); '
                 f'its images are in {BAD_BATCHES}')
        if self.in_a_row >= self.limit:
            mean = sum(float(loss) for loss in losses) / len(losses)
            raise UserError(f'the loss is {mean:.4g}, or the gradient is not finite, at step {step} and {self.in_a_row} steps '
                            'in a row (TRAIN.MAX_BAD_STEPS). Lower TRAIN.BASE_LR, set TRAIN.GRAD_CLIP, turn -amp off, or look '
                            f'at the images in {BAD_BATCHES}; the last checkpoint is kept.')

    def _finite_gradients(self):
        if self.gather:
            gradients = self.gather()
            if np.isfinite(sum(float(gradient.sum()) for gradient in gradients)):   # fast: a finite sum needs finite terms
                return True
        else:
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        return all_finite(gradients)
