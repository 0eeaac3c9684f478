"""The training: build, resume, then per epoch train, evaluate, save; at the end export."""
import contextlib
import signal
import sys

import numpy as np
import paddle

from image_classification.datasets import Mixup, get_dataloader, get_dataset
from image_classification.engine.processes import distributed
from image_classification.engine.processes.child_messages import ChildMessages
from image_classification.engine.best import BestCheckpoints, repair_best
from image_classification.engine.checkpoint import own_statistics, restore_checkpoint, save_checkpoint
from image_classification.engine.ema import ModelEma
from image_classification.engine.evaluate import evaluate
from image_classification.engine.flat import to_arrays
from image_classification.engine.freeze import Freeze
from image_classification.engine.introduction import changed_since, introduction
from image_classification.engine.losses import build_criterion
from image_classification.engine.meter import Meter
from image_classification.engine.optim import build_optimizer
from image_classification.engine.report import Confusion, write_per_class
from image_classification.engine.run_directory import (LAST, earlier_lasts, find_checkpoint, is_last, new_run_directory,
                                                       run_directory)
from image_classification.engine.run_log import RunLog
from image_classification.engine.schedule import check_schedule, learning_rate, rate_scale
from image_classification.engine.step_guard import StepGuard
from image_classification.engine.processes.stop_signals import StopSignals
from image_classification.engine.summary import finish
from image_classification.engine.sync_batch_norm import with_sync_batch_norm
from image_classification.engine.visual import check_visual, open_visual
from image_classification.errors import UserError
from image_classification.models import build_model
from image_classification.weights.pretrained import load_pretrained, load_whole
from image_classification.weights import load_state


def train_or_evaluate(cfg, group, messages=ChildMessages()):
    """Train, or with cfg.EVAL evaluate, as one process of `group`. Returns the metrics of the best or only evaluation."""
    for key in ('ACCUM_ITER', 'NUM_EPOCHS', 'MAX_BAD_STEPS'):
        check_positive(f'TRAIN.{key}', cfg.TRAIN[key])
    for key in ('SAVE_FREQ', 'REPORT_FREQ', 'VALIDATE_FREQ', 'KEEP_CHECKPOINTS', 'KEEP_BEST'):
        check_positive(key, cfg[key])
    if cfg.TRAIN.EARLY_STOP < 0:
        raise UserError(f'TRAIN.EARLY_STOP is {cfg.TRAIN.EARLY_STOP}; wanted 0 (never) or more evaluations')
    check_schedule(cfg.TRAIN)
    check_visual(cfg.VISUAL)
    if cfg.AMP_DTYPE not in ('float16', 'bfloat16'):
        raise UserError(f'AMP_DTYPE is {cfg.AMP_DTYPE!r}; wanted float16 or bfloat16')
    paddle.seed(cfg.SEED)                                          # the same initial weights in every process
    return run_evaluation(cfg, group) if cfg.EVAL else Trainer(cfg, group, messages).train()


def check_positive(key, value):
    if value < 1:
        raise UserError(f'{key} is {value}; wanted 1 or more')


def run_evaluation(cfg, group):
    checkpoint = find_checkpoint(cfg, group)
    if not checkpoint and not cfg.MODEL.PRETRAINED:
        raise UserError('-eval has nothing to evaluate; give weights by -pretrained, or a checkpoint by -resume')
    data = get_dataset(cfg, is_train=False, channels=cfg.MODEL.IN_CHANNELS)
    model = build_model(cfg)
    if checkpoint:
        check_same_model(checkpoint, cfg, data.classes)
        load_state(model, checkpoint.ema or checkpoint.model, checkpoint.path)
    else:
        load_whole(model, cfg.MODEL.PRETRAINED, 'set -num_classes')
    log = RunLog(new_run_directory(cfg) if group.is_main else None)
    confusion = Confusion(cfg.MODEL.NUM_CLASSES) if cfg.PER_CLASS else None
    metrics = evaluate(model, get_dataloader(cfg, data, False, group.rank, group.world_size), group, confusion)
    log.metrics(kind='eval', **metrics)
    log.line(describe(metrics))
    if confusion and group.is_main:
        for line in write_per_class(confusion, data.classes, log.directory):
            log.line(line)
    return metrics


def check_same_model(checkpoint, cfg, classes):
    """Raise UserError unless the checkpoint is of the network, the classes and the optimizer at hand."""
    theirs, ours = checkpoint.cfg.MODEL, cfg.MODEL
    free = ('RESUME', 'PRETRAINED', 'PUBLISHED', 'WEIGHTS', 'GRAD_CHECKPOINTING', 'DROPOUT', 'DROPPATH', 'ATTENTION_DROPOUT',
            'MLP_DROPOUT')
    differ = [f'MODEL.{key} is {theirs.get(key)!r}, the configuration\'s is {ours[key]!r}'
              for key in ours if key not in free and theirs.get(key) != ours[key]]
    names = checkpoint.cfg.TRAIN.OPTIMIZER.NAME, cfg.TRAIN.OPTIMIZER.NAME
    if not cfg.EVAL and names[0] != names[1]:
        differ.append(f'TRAIN.OPTIMIZER.NAME is {names[0]!r}, the configuration\'s is {names[1]!r}')
    if differ:
        raise UserError(f'{checkpoint.path} is of another model or training: its {differ[0]}. Give the -cfg that it was made '
                        'with, or take only its weights by -pretrained.')
    if checkpoint.class_names != list(classes):
        raise UserError(f'{checkpoint.path} was trained on the classes {", ".join(checkpoint.class_names[:5])}, ...; the data '
                        f'set has {", ".join(classes[:5])}, .... Use the data set that it was trained on.')


def describe(metrics):
    return (f'top-1 {metrics["top1"]:.2f} %, top-5 {metrics["top5"]:.2f} %, loss {metrics["loss"]:.4f} '
            f'on {metrics["images"]} images')


class Trainer:
    """One training. `train()` is the loop; what it is made of is built once, here."""

    def __init__(self, cfg, group, messages=ChildMessages()):
        self.cfg, self.group, self.meter = cfg, group, Meter()
        train_data, test_data = (get_dataset(cfg, is_train, channels=cfg.MODEL.IN_CHANNELS) for is_train in (True, False))
        self.classes = list(train_data.classes)
        self.loader = get_dataloader(cfg, train_data, True, group.rank, group.world_size)
        self.test_loader = get_dataloader(cfg, test_data, False, group.rank, group.world_size)
        self.told = 0                                              # unreadable images that are in the log already
        self.steps_per_epoch = len(self.loader) // cfg.TRAIN.ACCUM_ITER
        if not self.steps_per_epoch:
            raise UserError(f'TRAIN.ACCUM_ITER is {cfg.TRAIN.ACCUM_ITER}, but an epoch has only {len(self.loader)} batches; '
                            'wanted at most that many. Lower it or -batch_size.')
        self.mixup = Mixup.from_config(cfg)
        self.model, notes = with_sync_batch_norm(cfg, build_model(cfg), group)
        self.freeze = Freeze(self.model, cfg.TRAIN.FREEZE, cfg.TRAIN.FREEZE_EPOCHS)
        self.optimizer = build_optimizer(cfg, self.model)
        self.ema = ModelEma(self.model, cfg.TRAIN.MODEL_EMA_DECAY, cfg.TRAIN.MODEL_EMA, cfg.TRAIN.MODEL_EMA_WARMUP)
        self.amp = cfg.AMP and distributed.gpu_count() > 0
        self.scaler = paddle.amp.GradScaler(enable=self.amp and cfg.AMP_DTYPE == 'float16')
        self.criterion = build_criterion(cfg, self.classes, self.amp)
        self.scale = rate_scale(cfg, group.world_size)
        self.progress = {'epoch': 0, 'batch': 0, 'step': 0, 'steps_per_epoch': self.steps_per_epoch, 'best': None,
                         'since_best': 0}                          # evaluations
        self.best = BestCheckpoints(cfg.KEEP_BEST)
        self.parallel = self.model                                 # before resuming: DataParallel gives all processes the
        if group.world_size > 1:                                   # first one's running statistics
            self.parallel = paddle.DataParallel(self.model, find_unused_parameters=self.freeze.thaws)
        checkpoint = find_checkpoint(cfg, group)
        notes += self.criterion.distillation.notes
        notes += self.resume(checkpoint) if checkpoint else self.load_pretrained()
        self.directory = run_directory(cfg, checkpoint) if group.is_main else None
        steps, done = cfg.TRAIN.NUM_EPOCHS * self.steps_per_epoch, self.progress['step']
        self.log = RunLog(self.directory, min(steps, cfg.TRAIN.MAX_STEPS or steps), done,
                          open_visual(cfg.VISUAL, self.directory, done))
        self.log.forget_after(done)
        if group.is_main:
            messages.send_run_directory(self.directory)
        group.watch.listen(lambda reason, code: self.log.write(f'error: {reason}'))
        self.guard = StepGuard(self.model, group, cfg.TRAIN.MAX_BAD_STEPS, getattr(self.optimizer, 'gather', None))
        self.signals = StopSignals('finishing the step, saving, and stopping; once more ends the process at once')
        self.introduce(notes)

    def resume(self, checkpoint):
        """Go on where a checkpoint was written. Returns lines for the log."""
        check_same_model(checkpoint, self.cfg, self.classes)
        restore_checkpoint(checkpoint, self.model, self.ema, self.optimizer, self.scaler, self.group)
        progress = self.progress = {**self.progress, **checkpoint.progress}
        notes = [f'passed over: {reason}' for _, reason in checkpoint.damaged]
        notes += [f'resumed from {checkpoint.path} after {progress["step"]} steps', *changed_since(checkpoint, self.cfg)]
        meters = progress.pop('meters', [])
        if len(meters) == self.group.world_size:
            self.meter.restore(*meters[self.group.rank])
        if progress['steps_per_epoch'] != self.steps_per_epoch:
            progress.update(batch=0, step=progress['epoch'] * self.steps_per_epoch, steps_per_epoch=self.steps_per_epoch)
            notes.append(f'an epoch has {self.steps_per_epoch} steps now: goes on at the start of epoch '
                         f'{progress["epoch"] + 1}')
        if is_last(checkpoint.path):
            found = repair_best(checkpoint.path.parent, self.cfg.KEEP_BEST) if self.group.is_main else None
            self.best.records, damaged = self.group.gather_objects(found)[0]
            notes += damaged
        if not self.best.records:
            progress.update(best=None, since_best=0)               # its file is not where this run writes
            if progress['epoch'] >= self.cfg.TRAIN.NUM_EPOCHS:
                raise UserError(f'{checkpoint.path} has all {progress["epoch"]} epochs behind it. Evaluate it by -eval, or '
                                'train on with more -epochs.')
        return notes

    def load_pretrained(self):
        """Start from the weights of MODEL.PRETRAINED, if it is set. Returns lines for the log."""
        model = self.model
        if not self.cfg.MODEL.PRETRAINED:
            return []
        source, dropped = load_pretrained(model, self.cfg.MODEL.PRETRAINED)
        self.ema.set_state_dict(model.state_dict())
        if not dropped:
            return [f'weights from {source}']
        return [f'weights from {source}, which has another number of classes than {self.cfg.MODEL.NUM_CLASSES}: '
                f'{", ".join(dropped)} start afresh']

    def introduce(self, notes):
        """The first lines of the log."""
        cfg, group = self.cfg, self.group
        images = len(self.loader.dataset), len(self.test_loader.dataset)
        lines = introduction(cfg, self.model, self.freeze, images, self.scale, group, self.directory) if group.is_main else []
        group.gather_objects(None)                                 # the others wait here, not in the middle of a step
        if cfg.AMP and not self.amp:
            notes = [*notes, 'mixed precision is for GPUs; goes on in float32']
        for line in [*lines, *notes]:
            self.log.line(line)

    def train(self):
        """The loop. Returns the best metrics."""
        cfg, progress = self.cfg, self.progress
        with self.signals:
            for epoch in range(progress['epoch'], cfg.TRAIN.NUM_EPOCHS):
                if self.out_of_patience:
                    break
                self.train_epoch(epoch)
                last = self.stopped or epoch + 1 == cfg.TRAIN.NUM_EPOCHS
                if last or (epoch + 1) % cfg.VALIDATE_FREQ == 0:
                    self.evaluate(epoch)
                if last or self.out_of_patience or (epoch + 1) % cfg.SAVE_FREQ == 0:
                    self.save_last()
                if self.stopped:
                    break
        if self.out_of_patience:
            self.log.line(f'stopped early: {progress["since_best"]} evaluations without a better top-1 (TRAIN.EARLY_STOP)')
        self.log.close()
        self.group.watch.close()                                   # what follows is the main process's alone
        if self.group.is_main:
            finish(cfg, self.log, self.test_loader.dataset, self.best.records[0])
        return self.best.records[0]

    @property
    def stopped(self):
        return 0 < self.cfg.TRAIN.MAX_STEPS <= self.progress['step']

    @property
    def out_of_patience(self):
        return 0 < self.cfg.TRAIN.EARLY_STOP <= self.progress['since_best']

    def train_epoch(self, epoch):
        """From the batch where `progress` stands to the epoch's end, or to TRAIN.MAX_STEPS."""
        cfg, progress = self.cfg, self.progress
        accum, end = cfg.TRAIN.ACCUM_ITER, self.steps_per_epoch * cfg.TRAIN.ACCUM_ITER
        batches = self.loader.epoch(epoch, start=progress['batch'])
        meter, guard = self.meter, self.guard
        self.parallel.train()
        self.freeze.begin(epoch)
        while progress['batch'] < end and not self.stopped:
            paddle.seed(stream_seed(cfg.SEED, progress['step'], self.group.rank))  # dropout depends on the step alone
            rate = learning_rate(progress['step'], self.steps_per_epoch, cfg.TRAIN) * self.scale
            self.optimizer.set_lr(rate)
            guard.begin()
            losses = []
            for i in range(accum):
                self.group.watch.beat(f'step {progress["step"] + 1}: loading images')
                images, labels = meter.next(batches)
                self.group.watch.beat(f'step {progress["step"] + 1}: forward and backward')
                losses.append(self.backward(images, labels, [epoch, progress['batch'] + i], last=i + 1 == accum))
            if guard.passes(losses, self.signals.caught):
                self.scaler.step(self.optimizer)
                self.ema.update(self.model, progress['step'] + 1)
                meter.add(losses)
            else:
                self.skip(epoch, losses)
            self.scaler.update()
            self.optimizer.clear_grad()
            progress['step'] += 1
            progress['batch'] += accum
            self.log.step(epoch + 1, losses[-1], rate,
                          lambda: (meter.images_per_second() * self.group.world_size, meter.waiting()))
            if meter.batches and (progress['step'] % cfg.REPORT_FREQ == 0 or progress['batch'] == end or self.stopped):
                self.report(epoch, rate, meter)
            if guard.stop:
                self.stop()
            if cfg.SAVE_STEPS and progress['step'] % cfg.SAVE_STEPS == 0 and progress['batch'] < end and not self.stopped:
                self.save_last()
        if progress['batch'] == end:
            progress.update(epoch=epoch + 1, batch=0)

    def skip(self, epoch, losses):
        """The step at hand changes nothing; its images are written down."""
        if self.amp:
            self.scaler.unscale_(self.optimizer)                   # by which the scaler sees that its scale is too large
        first = self.progress['batch']
        files = [self.loader.paths(epoch, first + i) for i in range(len(losses))]
        self.guard.report(self.log, self.progress['step'] + 1, losses, files)

    def stop(self):
        """Save, and leave, as a signal has asked for. At an epoch's end, its evaluation is left to the resumed run."""
        self.save_last()
        self.log.line(f'stopped after step {self.progress["step"]}; -resume auto goes on')
        self.log.close()
        sys.exit(128 + (self.signals.caught or signal.SIGTERM))

    def backward(self, images, labels, position, last):
        """Loss of the batch at `position`, and its gradients; the last one of a step sums them over all processes."""
        cfg = self.cfg
        images, targets = self.mixup(images, labels, np.random.default_rng([cfg.SEED, *position, self.group.rank]))
        alone = self.group.world_size > 1 and not last
        with self.parallel.no_sync() if alone else contextlib.nullcontext():
            with paddle.amp.auto_cast(enable=self.amp, dtype=cfg.AMP_DTYPE):
                outputs = self.parallel(images)
            loss = self.criterion(outputs, targets, images)
            self.scaler.scale(loss / cfg.TRAIN.ACCUM_ITER).backward()
        return loss.detach()

    def report(self, epoch, rate, meter):
        """A line in the log and in metrics.jsonl: the mean loss since the last report."""
        step, (loss, waiting) = self.progress['step'], meter.means(self.group)
        speed = meter.images_per_second() * self.group.world_size
        self.log.metrics(kind='train', epoch=epoch + 1, step=step, loss=loss, lr=rate, images_per_second=round(speed, 1),
                         waiting=round(waiting, 4))
        self.log.line(f'epoch {epoch + 1}/{self.cfg.TRAIN.NUM_EPOCHS} step {step} loss {loss:.4f} lr {rate:.3g} '
                      f'{speed:.0f} images/s, waiting {waiting:.1%}, {self.log.time_left(step)} left')
        for message in self.loader.bad_images[self.told:]:
            self.log.line(f'skipped: {message}')
        self.told = len(self.loader.bad_images)
        meter.reset()

    def evaluate(self, epoch):
        """Evaluate the moving average, or the network; keep the best."""
        progress = self.progress
        statistics = list(own_statistics(self.model, self.ema).values())
        own = to_arrays(dict(enumerate(statistics))) if progress['batch'] else {}
        self.group.average_(statistics)
        with self.ema.applied_to(self.model) as model:
            metrics = evaluate(model, self.test_loader, self.group)
        self.log.metrics(kind='eval', epoch=epoch + 1, step=progress['step'], **metrics)
        self.log.line(f'epoch {epoch + 1}/{self.cfg.TRAIN.NUM_EPOCHS} {describe(metrics)}')
        better = progress['best'] is None or metrics['top1'] > progress['best']['top1']
        progress['since_best'] = 0 if better else progress['since_best'] + 1
        record = progress['evaluated'] = {'epoch': epoch + 1, 'step': progress['step'], **metrics}
        if better:
            progress['best'] = record
        self.best.add(record, self.save)
        for number, value in own.items():                          # stopped in mid-epoch, where nobody evaluates who goes on
            statistics[number].set_value(value)

    def save_last(self):
        self.save(LAST, earlier_lasts(self.cfg.KEEP_CHECKPOINTS))

    def save(self, name, earlier):
        """Write a checkpoint, by which the one before moves on to the names `earlier`; all processes give what each has of
        its own."""
        statistics = self.group.gather(list(own_statistics(self.model, self.ema).values()))
        progress = {**self.progress, 'meters': self.group.gather_objects(self.meter.state())}
        if self.group.is_main:
            save_checkpoint(self.directory / name, self.cfg, self.classes, progress, self.model, self.ema, self.optimizer,
                            self.scaler, statistics, [self.directory / other for other in earlier])


def stream_seed(*numbers):
    """A seed for Paddle's generator that differs for every step and process of a run."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
