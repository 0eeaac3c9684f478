"""Train all layers in the time left, then train a few last epochs with the validation pictures added."""
import time
from dataclasses import dataclass, replace

import numpy as np
import paddle

from image_classification.checkpoint import load_network, write_network
from image_classification.config import changed
from image_classification.cpu.settings import release_memory
from image_classification.engine.run_directory import LAST
from image_classification.errors import UserError
from image_classification.fit.features import logits_of
from image_classification.fit.plan import batch_size, fine_tuning_rate, make_plan, measure, smaller
from image_classification.fit.split import listed, write_lists
from image_classification.fit.training import process_count, train, write_recipe
from image_classification.weights import read_weights

_BEGIN = 15.0                                                      # seconds until the training processes have started
_LEAST = 8                                                         # fewest pictures per process and step
_SHARES = (0.5, 0.75)                                              # where to interpolate from the head to the final weights
_LATER, _SLOWER = 0.2, 0.3                                         # last epochs: shares of the epochs and of the learning rate
CHOSEN, LAST_EPOCHS = 'chosen.safetensors', 'last_epochs'


@dataclass
class Candidate:
    """A network that may become the result, and its logits of the validation pictures."""
    name: str
    network: paddle.nn.Layer
    logits: np.ndarray
    known: tuple                                                   # (logits, labels) for choosing its temperature

    def top1(self, labels):
        return 100 * float((self.logits.argmax(1) == labels).mean())


class Tuning:
    """The training of all layers in a fit.

    Args:
        job: pictures, network and user's choices. If it has a `head`, the training starts from that file, else from scratch.
    """

    def __init__(self, job):
        self.job, self.plan, self.trained = job, None, []          # trained: candidates that may train on in `finished`
        self.cfg = changed(job.start.network.config, {'MODEL.NUM_CLASSES': job.classes})

    def candidates(self):
        """Train, and return the resulting candidates; [] if there is no time to train."""
        job, head = self.job, self.job.head
        self.plan = self._plan()
        if self.plan is None:
            job.say('training    none: the time is up')
            return []
        plan = self.plan
        write_recipe(job.output, plan, self.cfg, job.training, head, job.wish.seed)
        job.say(f'training    {plan.epochs} epochs of {plan.images} pictures at {plan.size} px, {plan.steps()} steps of '
                f'{plan.batch}, about {plan.seconds_in_all(len(job.validation)) / 60:.1f} minutes; Ctrl-C ends it and keeps '
                'the best so far')
        release_memory()
        trained = train(job.output, plan, job.deadline - job.end, job.say)
        found = []
        for path in self._to_judge(trained):
            if head and path.name == LAST:
                found += self._averages(path)                      # first, as the safest choice with few validation pictures
            network, _ = load_network(path)
            found.append(self._candidate(f'the training of all layers ({path.stem})', network))
        if head and trained.whole and plan.images == len(job.training):
            self.trained = found
        return found

    def _to_judge(self, trained):
        """The checkpoints that may become the result: of a fine-tuning that ran to its end, only the last one.

        With few validation pictures, the best of many evaluations is best by luck. On ants and bees, first epochs with all 36
        pictures right reached 95.4 % on other pictures, the head alone 96.1 %.
        """
        if self.job.head and trained.whole:
            return [path for path in trained.paths if path.name == LAST]
        return trained.paths

    def _plan(self):
        job = self.job
        batch = batch_size(len(job.training), fresh=not job.head)
        processes = max(1, min(process_count(), batch // _LEAST))
        if job.operators_ready():
            job.say('operators   in C++, compiled for this machine, are taken')
        seconds = measure(job.start.network, job.side, batch // processes) / processes
        left, decide = self._seconds_left() * (1 - _LATER if job.head else 1), len(job.validation)
        plan = make_plan(left, len(job.training), decide, job.side, batch, seconds, fresh=not job.head)
        if plan is None:
            if not job.head:
                raise UserError(f'{left:.0f} s are left for a training, too few for 20 steps at {job.side} pixels; wanted more '
                                '--minutes, or a smaller --size')
            return None
        plan = replace(plan, processes=processes, symmetries=tuple(job.symmetries), error=job.error)
        return smaller(plan, left, len(job.training), decide) if job.head and not job.wish.size else plan

    def _seconds_left(self):
        return self.job.deadline - time.monotonic() - self.job.end - _BEGIN

    def _candidate(self, name, network):
        logits = logits_of(network, self.job.validation)
        return Candidate(name, network, logits, (logits, self.job.deciding))

    def _averages(self, path):
        """Candidates with weights interpolated between the head and the end of the training (WiSE-FT,
        https://arxiv.org/abs/2109.01903). They are often better than both, if all batch norms have kept their statistics."""
        head = read_weights(self.job.head)
        for share in _SHARES:
            network, _ = load_network(path)
            for name, value in network.state_dict().items():
                value.set_value((share * value.numpy() + (1 - share) * head[name]).astype(head[name].dtype))
            yield self._candidate(f'the training of all layers, {share:.0%} of the way', network)

    def finished(self, chosen):
        """Train the chosen candidate for a few more epochs at a lower rate, with the validation pictures added.

        In a small data set, each additional picture counts. The candidate keeps its earlier logits, and so its temperature,
        because these are of pictures that it had not learned then.
        """
        job = self.job
        if not any(one is chosen for one in self.trained):
            return chosen
        pictures = job.training + job.validation[1:]               # one picture is left out, as the trainer must evaluate some
        epochs = min(round(_LATER * self.plan.epochs), int(self._seconds_left() / (self.plan.seconds * len(pictures) + 1)))
        if epochs < 1:
            return chosen
        directory = job.output / LAST_EPOCHS
        write_lists(directory / 'pictures', job.found.classes, pictures, job.validation[:1], job.tested)
        write_network(directory / CHOSEN, chosen.network, chosen.network.config, listed(job.found.classes))
        rate = _SLOWER * fine_tuning_rate(self.plan.error, self.plan.epochs)
        plan = replace(self.plan, epochs=epochs, images=len(pictures), rate=rate)
        write_recipe(directory, plan, self.cfg, pictures, directory / CHOSEN, job.wish.seed)
        job.say(f'last epochs {epochs} more, on the validation pictures as well')
        try:
            trained = train(directory, plan, job.deadline - job.end, lambda line: None)
        except UserError as error:
            job.say(f'last epochs given up, the network of before is taken: {error}')
            return chosen
        last = [load_network(path)[0] for path in trained.paths if path.name == LAST]
        better = trained.whole and last and self._candidate('', last[0]).top1(job.deciding) >= chosen.top1(job.deciding)
        return replace(chosen, network=last[0]) if better else chosen
