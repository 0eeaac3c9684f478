"""The trainer: build, resume, then train, evaluate and save in each epoch; export at the end."""
import contextlib
import dataclasses
import signal
import sys

import numpy as np
import paddle

from image_classification.checkpoint import Progress
from image_classification.config import check_values
from image_classification.datasets.check import check_pictures
from image_classification.engine.batch_norm import (SinglePictures, batches_to_average, lags_behind, learning_norms,
                                                   renew_statistics)
from image_classification.engine.best import BestCheckpoints, repair_best
from image_classification.engine.checkpoint import check_same_training, own_statistics, restore_checkpoint, save_checkpoint
from image_classification.engine.doubts import Doubts, Tally, before_training
from image_classification.engine.evaluate import describe, evaluate, evaluate_weights
from image_classification.engine.flat import to_arrays
from image_classification.engine.introduction import changed_since, introduction
from image_classification.engine.meter import Meter
from image_classification.engine.parts import build_data, build_network, build_optimization
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.engine.processes.stop_signals import StopSignals
from image_classification.engine.run_directory import LAST, earlier_lasts, find_checkpoint, is_last, run_directory
from image_classification.engine.run_lock import RunLock
from image_classification.engine.run_log import RunLog
from image_classification.engine.schedule import check_schedule, learning_rate, peak_rate
from image_classification.engine.start_weights import start_from
from image_classification.engine.summary import finish
from image_classification.engine.visual import check_visual, open_visual
from image_classification.errors import READER_GONE, UserError


def train_or_evaluate(cfg, group, messages=ChildMessages(), opening=()):
    """Train, or evaluate if cfg.EVAL is set, as one process of `group`. Returns the metrics of the best or only evaluation.

    Args:
        opening: first lines of the log, see `opening_lines` in config.
    """
    check_config(cfg)
    paddle.seed(cfg.SEED)                                          # the same initial weights in every process
    return evaluate_weights(cfg, group, opening) if cfg.EVAL else Trainer(cfg, group, messages, opening).train()


def check_config(cfg):
    """Raise UserError for values that are out of bounds or contradict each other, before anything is built."""
    # An evaluation does not depend on the training keys of its checkpoint.
    check_values(cfg, *(('DATA.', 'MODEL.', 'SEED', 'AMP_DTYPE') if cfg.EVAL else ()))
    if not cfg.EVAL:
        if cfg.MODEL.NUM_CLASSES < 2:
            raise UserError(f'MODEL.NUM_CLASSES is {cfg.MODEL.NUM_CLASSES}; wanted 2 or more to train: with a single class, '
                            'every answer is right. Add a folder with pictures of something else')
        check_schedule(cfg.TRAIN)
    check_visual(cfg.VISUAL)


class Trainer:
    """One training. The constructor builds everything; `train()` runs the loop."""

    def __init__(self, cfg, group, messages=ChildMessages(), opening=()):
        self.cfg, self.group, self.messages, self.meter = cfg, group, messages, Meter()
        self.data = build_data(cfg, group)
        checked = check_pictures(self.data.test_loader.dataset, group)
        self.network = build_network(cfg, group)
        self.optimization = build_optimization(cfg, group, self.network.model, self.data.classes)
        self.progress = Progress(steps_per_epoch=self.data.steps_per_epoch)
        self.best, self.doubts = BestCheckpoints(cfg.KEEP_BEST), Doubts(self.data.classes, group)
        self.single_pictures = SinglePictures(self.network.model, group)
        self.lock, self.saved = RunLock(), None                    # saved: the step that last.safetensors holds
        self.signals = StopSignals('finishing the step, saving, and stopping; once more ends the process at once')
        checkpoint = find_checkpoint(cfg, group, self.lock.take)
        notes = [*self.data.notes, *checked, *self.network.notes, *self.optimization.criterion.distillation.notes]
        notes += self.resume(checkpoint) if checkpoint else self.load_pretrained()
        self.opening, self.notes, self.checkpoint = opening, notes, checkpoint

    def train(self):
        """Run the whole training. Returns the best metrics."""
        try:
            with self.signals:
                self.begin()
                self.loop()
            return self.conclude()
        finally:
            self.lock.release()

    def begin(self):
        """Create or reuse the run directory, and write the first lines of its log."""
        checkpoint, self.checkpoint = self.checkpoint, None        # frees its memory: it is as large as the network
        directory = run_directory(self.cfg, checkpoint, self.lock.take) if self.group.is_main else None
        self.log = self.open_log(directory)
        self.introduce(self.opening, [*self.lock.notes, *self.notes])

    def loop(self):
        """Train and evaluate, epoch by epoch. Weights are saved before each evaluation, because an evaluation may fail."""
        cfg, progress = self.cfg, self.progress
        for epoch in range(progress.epoch, cfg.TRAIN.NUM_EPOCHS):
            if self.out_of_patience:
                break
            self.train_epoch(epoch)
            last = self.is_last(epoch)
            evaluates, saves = (last or (epoch + 1) % frequency == 0 for frequency in (cfg.VALIDATE_FREQ, cfg.SAVE_FREQ))
            if evaluates and saves:
                self.save_last()
            self.end_epoch(epoch)
            if evaluates:
                self.evaluate(epoch)
            if saves or self.out_of_patience:
                self.save_last()
            if self.stopped:
                break

    def conclude(self):
        """Write the last lines, export, and return the best metrics. Exits instead if a signal came in the last evaluation."""
        if self.out_of_patience:
            self.log.line(f'stopped early: {self.progress.since_best} evaluations without a better top-1 (TRAIN.EARLY_STOP)')
        if self.asked_to_stop:
            self.leave()
        self.log.close()
        self.group.watch.close()                                   # only the main process works from here on
        if self.group.is_main:
            finish(self.cfg, self.log, self.data.test_loader.dataset, self.best.records[0])
        if self.asked_to_stop:                                     # the reader of the output has gone
            sys.exit(128 + self.asked_to_stop)
        return self.best.records[0]

    @property
    def asked_to_stop(self):
        """Number of the signal that asks for an end, 0 for none. It is that of SIGPIPE if nobody reads the output any more."""
        return self.signals.caught or (READER_GONE - 128 if self.log.reader_gone else 0)

    @property
    def position(self):
        """Position in the schedule, in steps. Each finished epoch counts with the present number of steps per epoch."""
        return self.progress.epoch * self.data.steps_per_epoch + self.progress.batch // self.cfg.TRAIN.ACCUM_ITER

    @property
    def batches_per_epoch(self):
        return self.data.steps_per_epoch * self.cfg.TRAIN.ACCUM_ITER

    @property
    def stopped(self):
        return 0 < self.cfg.TRAIN.MAX_STEPS <= self.progress.step

    def is_last(self, epoch):
        """Whether training ends after this epoch, or after the trained part of it."""
        return self.stopped or epoch + 1 == self.cfg.TRAIN.NUM_EPOCHS

    @property
    def out_of_patience(self):
        return 0 < self.cfg.TRAIN.EARLY_STOP <= self.progress.since_best

    def train_epoch(self, epoch):
        """Train from the batch at which `progress` is, to the end of the epoch or to TRAIN.MAX_STEPS."""
        cfg, progress, end = self.cfg, self.progress, self.batches_per_epoch
        batches = self.data.loader.epoch(epoch, start=progress.batch)
        self.network.begin_epoch(epoch)
        while progress.batch < end and not self.stopped:
            rate = self.begin_step()
            losses = self.accumulate(epoch, batches)
            self.end_step(epoch, losses)
            progress.step += 1
            progress.batch += cfg.TRAIN.ACCUM_ITER
            goes_on = progress.batch < end and not self.stopped
            self.log.step(epoch + 1, losses[-1], rate, self.pace)
            if self.meter.batches and (progress.step % cfg.REPORT_FREQ == 0 or not goes_on):
                self.report(epoch, rate)
            if self.optimization.guard.stop:
                self.stop()
            if goes_on and cfg.SAVE_STEPS and progress.step % cfg.SAVE_STEPS == 0:
                self.save_last()

    def end_epoch(self, epoch):
        """Move `progress` to the next epoch, unless TRAIN.MAX_STEPS has cut this one short.

        A checkpoint saved before this call is evaluated first by the run that resumes from it.
        """
        if self.progress.batch == self.batches_per_epoch:
            self.progress.epoch, self.progress.batch = epoch + 1, 0

    def begin_step(self):
        """Seed the step's random numbers and set its learning rate. Returns the rate."""
        step, optimization = self.progress.step, self.optimization
        paddle.seed(stream_seed(self.cfg.SEED, step, self.group.rank))   # dropout depends only on step and process
        rate = learning_rate(self.position, self.data.steps_per_epoch, self.cfg.TRAIN) * optimization.rate_scale
        optimization.optimizer.set_lr(rate)
        optimization.guard.begin()
        return rate

    def accumulate(self, epoch, batches):
        """Accumulate the gradients of the step's batches. Returns the loss of each batch."""
        accum, name, losses = self.cfg.TRAIN.ACCUM_ITER, f'step {self.progress.step + 1}', []
        for i in range(accum):
            self.group.watch.beat(f'{name}: loading images')
            images, labels = self.meter.next(batches)
            self.group.watch.beat(f'{name}: forward and backward')
            losses.append(self.backward(images, labels, [epoch, self.progress.batch + i], last=i + 1 == accum))
        return losses

    def backward(self, images, labels, position, last):
        """Compute loss and gradients of the batch at `position`. DataParallel averages gradients in a step's last batch."""
        cfg, parallel, optimization = self.cfg, self.network.parallel, self.optimization
        images, targets = self.data.mixup(images, labels, np.random.default_rng([cfg.SEED, *position, self.group.rank]))
        alone = isinstance(parallel, paddle.DataParallel) and not last
        with parallel.no_sync() if alone else contextlib.nullcontext():
            with paddle.amp.auto_cast(enable=optimization.amp, dtype=cfg.AMP_DTYPE), self.single_pictures.checked(images):
                outputs = parallel(images)
            loss = optimization.criterion(outputs, targets, images)
            self.doubts.saw(outputs, labels)
            optimization.scaler.scale(loss / cfg.TRAIN.ACCUM_ITER).backward()
        return loss.detach()

    def end_step(self, epoch, losses):
        """Update the weights if the gradients are finite, then clear the gradients."""
        network, optimization = self.network, self.optimization
        if optimization.guard.passes(losses, self.asked_to_stop):
            optimization.scaler.step(optimization.optimizer)
            network.ema.update(self.progress.step + 1)
            self.meter.add(losses)
        else:
            self.skip(epoch, losses)
        optimization.scaler.update()
        optimization.optimizer.clear_grad()

    def skip(self, epoch, losses):
        """Leave the weights unchanged in this step, and record its images."""
        optimization, first = self.optimization, self.progress.batch
        if optimization.amp:
            optimization.scaler.unscale_(optimization.optimizer)   # tells the scaler that its scale is too large
        files = [self.data.loader.paths(epoch, first + i) for i in range(len(losses))]
        optimization.guard.report(self.log, self.progress.step + 1, losses, files)

    def stop(self):
        """Save and exit after a signal. If an epoch has just ended, the resumed run evaluates it."""
        self.save_last()
        self.leave()

    def leave(self):
        self.log.line(f'stopped after step {self.progress.step}; -resume auto goes on')
        self.log.close()
        sys.exit(128 + (self.asked_to_stop or signal.SIGTERM))     # SIGTERM: another process got the signal

    def pace(self):
        """(images/s of all processes, share of this process's time spent waiting for data) since the last report."""
        return self.meter.images_per_second() * self.group.world_size, self.meter.waiting()

    def report(self, epoch, rate):
        """Write a line to the log and to metrics.jsonl, with the mean loss since the last report."""
        step, (loss, waiting) = self.progress.step, self.meter.means(self.group)
        speed, _ = self.pace()
        self.log.metrics(kind='train', epoch=epoch + 1, step=step, loss=loss, lr=rate, images_per_second=round(speed, 1),
                         waiting=round(waiting, 4))
        self.log.line(f'epoch {epoch + 1}/{self.cfg.TRAIN.NUM_EPOCHS} step {step} loss {loss:.4f} lr {rate:.3g} '
                      f'{speed:.0f} images/s, waiting {waiting:.1%}, {self.log.time_left(step)} left')
        for message in self.data.new_bad_images():
            self.log.line(f'skipped: {message}')
        self.meter.reset()

    def evaluate(self, epoch):
        """Evaluate the moving average if there is one, otherwise the network, and keep the best checkpoints."""
        progress, network, tally = self.progress, self.network, Tally(self.cfg.MODEL.NUM_CLASSES)
        statistics = list(own_statistics(network.model, network.ema).values())
        # An evaluation only because of TRAIN.MAX_STEPS is not part of the schedule, so a resumed training would not repeat it.
        # Its changes to the batch norm statistics are undone below.
        planned = progress.epoch % self.cfg.VALIDATE_FREQ == 0 or progress.epoch == self.cfg.TRAIN.NUM_EPOCHS
        stays = planned and not progress.batch
        own = {} if stays else to_arrays(dict(enumerate(statistics)))
        self.group.average_(statistics)
        with network.ema.applied_to(network.model) as model:
            self.renew_statistics(model, epoch)
            metrics = evaluate(model, self.data.test_loader, self.group, tally)
        self.log.metrics(kind='eval', epoch=epoch + 1, step=progress.step, **metrics)
        self.log.line(f'epoch {epoch + 1}/{self.cfg.TRAIN.NUM_EPOCHS} {describe(metrics, self.cfg.MODEL.NUM_CLASSES)}')
        warm, last = self.position >= self.cfg.TRAIN.WARMUP_EPOCHS * self.data.steps_per_epoch, self.is_last(epoch)
        for line in self.doubts.after(metrics, tally, last) if warm or last else ():
            self.log.line(line)
        progress.add_evaluation({'epoch': epoch + 1, 'step': progress.step, **metrics}, counts=warm)
        self.best.add(progress.evaluated, self.save)
        for number, value in own.items():
            statistics[number].set_value(value)

    def renew_statistics(self, model, epoch):
        """Compute exact batch norm statistics of `model` if the running ones lag behind, see `batch_norm.py`."""
        cfg, progress, network = self.cfg, self.progress, self.network
        norms = learning_norms(model) if cfg.TRAIN.PRECISE_BN else []
        frozen = cfg.TRAIN.FREEZE_EPOCHS * self.data.steps_per_epoch if network.freeze.thaws else 0
        steps = min(progress.step, self.position - frozen if self.position > frozen else self.position)
        if lags_behind(norms, network.ema, steps, cfg.TRAIN.ACCUM_ITER):
            paddle.seed(stream_seed(cfg.SEED, progress.step, self.group.rank))    # the next step seeds again
            count = batches_to_average(self.data.loader, cfg.DATA.BATCH_SIZE, self.group)
            renew_statistics(model, norms, network.ema, self.data.loader, epoch, count, self.group)

    def save_last(self):
        """Save last.safetensors. A second save of the same step, after its evaluation, replaces the first one."""
        again, self.saved = self.saved == self.progress.step, self.progress.step
        self.save(LAST, [] if again else earlier_lasts(self.cfg.KEEP_CHECKPOINTS))

    def save(self, name, earlier):
        """Write a checkpoint; the files already there move on to the names in `earlier`.

        All processes must call this, because each contributes its own statistics and meters.
        """
        network, optimization = self.network, self.optimization
        statistics = self.group.gather(list(own_statistics(network.model, network.ema).values()))
        progress = dataclasses.replace(self.progress, meters=self.group.gather_objects(self.meter.state()))
        if self.group.is_main:
            directory = self.log.directory
            save_checkpoint(directory / name, self.cfg, self.data.classes, progress, network.model, network.ema,
                            optimization.optimizer, optimization.scaler, statistics, [directory / other for other in earlier])

    def resume(self, checkpoint):
        """Continue from a checkpoint. Returns lines for the log."""
        network, optimization = self.network, self.optimization
        check_same_training(checkpoint, self.cfg, self.data.classes)
        restore_checkpoint(checkpoint, network.model, network.ema, optimization.optimizer, optimization.scaler, self.group)
        progress = self.progress = checkpoint.progress
        notes = [f'passed over: {reason}' for _, reason in checkpoint.damaged]
        notes += [f'resumed from {checkpoint.path} after {progress.step} steps', *changed_since(checkpoint, self.cfg)]
        if len(progress.meters) == self.group.world_size:
            self.meter.restore(*progress.meters[self.group.rank])
        notes += self.fit_epoch(checkpoint.cfg.TRAIN.ACCUM_ITER)
        if is_last(checkpoint.path):
            self.saved = progress.step
            found = repair_best(checkpoint.path.parent, self.cfg.KEEP_BEST) if self.group.is_main else None
            self.best.records, damaged = self.group.gather_objects(found)[0]
            notes += damaged
        if not self.best.records:
            progress.best, progress.since_best = None, 0           # the file of the best is not in this run's directory
            if progress.epoch >= self.cfg.TRAIN.NUM_EPOCHS:
                raise UserError(f'{checkpoint.path} has already finished all {progress.epoch} epochs. Evaluate it with -eval, '
                                'or train longer with a larger -epochs.')
        return notes

    def fit_epoch(self, accum_before):
        """Adapt the position to a changed number of steps per epoch. Returns lines for the log.

        An unfinished epoch starts again. An epoch that is trained but not yet evaluated stays finished. The step count and
        what was logged are kept.
        """
        progress, steps = self.progress, self.data.steps_per_epoch
        before, progress.steps_per_epoch = progress.steps_per_epoch, steps
        if before == steps and accum_before == self.cfg.TRAIN.ACCUM_ITER:
            return []
        if progress.batch == before * accum_before:
            progress.batch = self.batches_per_epoch
            return [f'an epoch has {steps} steps now']
        progress.batch = 0
        return [f'an epoch has {steps} steps now: training continues at the start of epoch {progress.epoch + 1}']

    def load_pretrained(self):
        """Load the weights of PRETRAINED, if it is set. Returns lines for the log."""
        model, cfg = self.network.model, self.cfg
        if not cfg.PRETRAINED:
            return []
        notes = start_from(model, cfg.PRETRAINED, self.data.classes)
        self.network.ema.set_state_dict(model.state_dict())
        return notes

    def open_log(self, directory):
        """Open the log in `directory`, and tell supervisor and watchdog about it. With None the log is silent."""
        cfg, progress, done = self.cfg, self.progress, self.progress.step
        steps = done + cfg.TRAIN.NUM_EPOCHS * self.data.steps_per_epoch - self.position
        log = RunLog(directory, min(steps, cfg.TRAIN.MAX_STEPS or steps), done, open_visual(cfg.VISUAL, directory, done))
        log.forget_after(done, evaluated=progress.batch < self.batches_per_epoch)
        if directory is not None:
            self.messages.send_run_directory(directory)
        self.group.watch.listen(lambda reason, code: log.write(f'error: {reason}'))
        return log

    def introduce(self, opening, notes):
        """Write the first lines of the log."""
        cfg, data, group = self.cfg, self.data, self.group
        images = len(data.loader.dataset), len(data.test_loader.dataset)
        scale, steps = self.optimization.rate_scale, data.steps_per_epoch
        lines = introduction(cfg, self.network.model, self.network.freeze, images, scale * peak_rate(cfg.TRAIN, steps), group,
                             self.log.directory) if group.is_main else []
        notes = [*notes, *before_training(cfg, steps, images[0], scale, bool(cfg.PRETRAINED or self.progress.step),
                                             data.loader.dataset.labels)]
        group.gather_objects(None)                                 # the other processes wait here, not in the middle of a step
        if cfg.AMP and not self.optimization.amp:
            notes = [*notes, 'mixed precision needs a GPU; training in float32']
        for line in [*opening, *lines, *notes]:
            self.log.line(line)


def stream_seed(*numbers):
    """A seed for Paddle's generator that differs for every step and process of a run."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
