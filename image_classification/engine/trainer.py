"""The training: build, resume, then per epoch train, evaluate, save; at the end export."""
import contextlib
import signal
import sys
import time

import numpy as np
import paddle

from image_classification.datasets import Mixup, get_dataloader, get_dataset
from image_classification.engine import distributed
from image_classification.engine.checkpoint import own_statistics, restore_checkpoint, save_checkpoint
from image_classification.engine.ema import ModelEma
from image_classification.engine.evaluate import evaluate
from image_classification.engine.losses import build_criterion
from image_classification.engine.optim import build_optimizer
from image_classification.engine.report import Confusion, write_per_class
from image_classification.engine.run import BEST, LAST, RunLog, find_checkpoint, is_last, new_run_directory, run_directory
from image_classification.engine.schedule import check_schedule, learning_rate, rate_scale
from image_classification.engine.step_guard import StepGuard
from image_classification.engine.stop_signals import StopSignals
from image_classification.engine.summary import finish
from image_classification.engine.supervisor import Notes
from image_classification.engine.sync_batch_norm import with_sync_batch_norm
from image_classification.errors import UserError
from image_classification.layers import running_statistics
from image_classification.models import build_model
from image_classification.pretrained import load_pretrained, load_whole
from image_classification.weights import load_state


def run(cfg, group, notes=Notes()):
    """Train, or with cfg.EVAL evaluate, as one process of `group`. Returns the metrics of the best or only evaluation."""
    for key in ('ACCUM_ITER', 'NUM_EPOCHS', 'MAX_BAD_STEPS'):
        check_positive(f'TRAIN.{key}', cfg.TRAIN[key])
    for key in ('SAVE_FREQ', 'REPORT_FREQ', 'VALIDATE_FREQ', 'KEEP_CHECKPOINTS'):
        check_positive(key, cfg[key])
    check_schedule(cfg.TRAIN)
    if cfg.AMP_DTYPE not in ('float16', 'bfloat16'):
        raise UserError(f'AMP_DTYPE is {cfg.AMP_DTYPE!r}; wanted float16 or bfloat16')
    paddle.seed(cfg.SEED)                                          # the same initial weights in every process
    return run_evaluation(cfg, group) if cfg.EVAL else Trainer(cfg, group, notes).train()


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

    def __init__(self, cfg, group, supervisor_notes):
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
        self.optimizer = build_optimizer(cfg, self.model)
        self.ema = ModelEma(self.model, cfg.TRAIN.MODEL_EMA_DECAY, cfg.TRAIN.MODEL_EMA, cfg.TRAIN.MODEL_EMA_WARMUP)
        self.amp = cfg.AMP and distributed.gpu_count() > 0
        self.scaler = paddle.amp.GradScaler(enable=self.amp and cfg.AMP_DTYPE == 'float16')
        self.criterion = build_criterion(cfg, self.classes, self.amp)
        self.scale = rate_scale(cfg, group.world_size)
        self.progress = {'epoch': 0, 'batch': 0, 'step': 0, 'steps_per_epoch': self.steps_per_epoch, 'best': None}
        checkpoint = find_checkpoint(cfg, group)
        notes += self.criterion.distillation.notes
        notes += self.resume(checkpoint) if checkpoint else self.load_pretrained()
        self.directory = run_directory(cfg, checkpoint) if group.is_main else None
        self.log = RunLog(self.directory, cfg.TRAIN.NUM_EPOCHS * self.steps_per_epoch, self.progress['step'])
        self.log.forget_after(self.progress['step'])
        if group.is_main:
            supervisor_notes.run(self.directory)
        group.watch.listen(lambda reason, code: self.log.write(f'error: {reason}'))
        self.guard = StepGuard(self.model, group, cfg.TRAIN.MAX_BAD_STEPS)
        self.signals = StopSignals('finishing the step, saving, and stopping; once more ends the process at once')
        self.parallel = paddle.DataParallel(self.model) if group.world_size > 1 else self.model
        self.introduce(notes)

    def resume(self, checkpoint):
        """Go on where a checkpoint was written. Returns lines for the log."""
        check_same_model(checkpoint, self.cfg, self.classes)
        restore_checkpoint(checkpoint, self.model, self.ema, self.optimizer, self.scaler, self.group)
        progress = self.progress = checkpoint.progress
        notes = [f'passed over: {reason}' for _, reason in checkpoint.damaged]
        notes += [f'resumed from {checkpoint.path} after {progress["step"]} steps']
        meters = progress.pop('meters', [])
        if len(meters) == self.group.world_size:
            self.meter.restore(*meters[self.group.rank])
        if progress['steps_per_epoch'] != self.steps_per_epoch:
            progress.update(batch=0, step=progress['epoch'] * self.steps_per_epoch, steps_per_epoch=self.steps_per_epoch)
            notes.append(f'an epoch has {self.steps_per_epoch} steps now: goes on at the start of epoch '
                         f'{progress["epoch"] + 1}')
        if not is_last(checkpoint.path) or not checkpoint.path.with_name(BEST).is_file():
            progress['best'] = None                                # its file is not where this run writes
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
        parameters = sum(parameter.size for parameter in self.model.parameters() if not parameter.stop_gradient)
        self.log.line(f'{cfg.MODEL.NAME}, {parameters:,} parameters, on {group.world_size} x {paddle.get_device()}; '
                      f'{len(self.loader.dataset):,} images to train, {len(self.test_loader.dataset):,} to test')
        total = cfg.DATA.BATCH_SIZE * cfg.TRAIN.ACCUM_ITER * group.world_size
        self.log.line(f'total batch {total}, learning rate {cfg.TRAIN.BASE_LR * self.scale:.3g} at its peak')
        if cfg.AMP and not self.amp:
            notes = [*notes, 'mixed precision is for GPUs; goes on in float32']
        for note in notes:
            self.log.line(note)

    def train(self):
        """The loop. Returns the best metrics."""
        cfg, progress = self.cfg, self.progress
        with self.signals:
            for epoch in range(progress['epoch'], cfg.TRAIN.NUM_EPOCHS):
                self.train_epoch(epoch)
                last = self.stopped or epoch + 1 == cfg.TRAIN.NUM_EPOCHS
                if last or (epoch + 1) % cfg.VALIDATE_FREQ == 0:
                    self.evaluate(epoch)
                if last or (epoch + 1) % cfg.SAVE_FREQ == 0:
                    self.save(LAST)
                if self.stopped:
                    break
        self.log.close()
        self.group.watch.close()                                   # what follows is the main process's alone
        if self.group.is_main:
            finish(cfg, self.log, self.test_loader.dataset, progress['best'])
        return progress['best']

    @property
    def stopped(self):
        return 0 < self.cfg.TRAIN.MAX_STEPS <= self.progress['step']

    def train_epoch(self, epoch):
        """From the batch where `progress` stands to the epoch's end, or to TRAIN.MAX_STEPS."""
        cfg, progress = self.cfg, self.progress
        accum, end = cfg.TRAIN.ACCUM_ITER, self.steps_per_epoch * cfg.TRAIN.ACCUM_ITER
        batches = self.loader.epoch(epoch, start=progress['batch'])
        meter, guard = self.meter, self.guard
        self.parallel.train()
        while progress['batch'] < end and not self.stopped:
            paddle.seed(stream_seed(cfg.SEED, progress['step'], self.group.rank))  # dropout depends on the step alone
            rate = learning_rate(progress['step'], self.steps_per_epoch, cfg.TRAIN) * self.scale
            self.optimizer.set_lr(rate)
            guard.begin()
            losses = []
            for i in range(accum):
                self.group.watch.beat(f'step {progress["step"] + 1}: loading images')
                images, labels = next(batches)
                self.group.watch.beat(f'step {progress["step"] + 1}: forward and backward')
                losses.append(self.backward(images, labels, [epoch, progress['batch'] + i], last=i + 1 == accum))
                meter.images += len(images)
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
            self.log.step(epoch + 1, losses[-1], lambda: meter.images_per_second() * self.group.world_size)
            if meter.batches and (progress['step'] % cfg.REPORT_FREQ == 0 or progress['batch'] == end or self.stopped):
                self.report(epoch, rate, meter)
            if guard.stop:
                self.stop()
            if cfg.SAVE_STEPS and progress['step'] % cfg.SAVE_STEPS == 0 and progress['batch'] < end and not self.stopped:
                self.save(LAST)
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
        self.save(LAST)
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
        step, loss = self.progress['step'], meter.mean_loss(self.group)
        speed = meter.images_per_second() * self.group.world_size
        self.log.metrics(kind='train', epoch=epoch + 1, step=step, loss=loss, lr=rate, images_per_second=round(speed, 1))
        self.log.line(f'epoch {epoch + 1}/{self.cfg.TRAIN.NUM_EPOCHS} step {step} loss {loss:.4f} lr {rate:.3g} '
                      f'{speed:.0f} images/s')
        for message in self.loader.bad_images[self.told:]:
            self.log.line(f'skipped: {message}')
        self.told = len(self.loader.bad_images)
        meter.reset()

    def evaluate(self, epoch):
        """Evaluate the moving average, or the network; keep the best."""
        progress = self.progress
        for weights in (self.model.state_dict(), self.ema.average):
            self.group.average_(running_statistics(weights).values())
        with self.ema.applied_to(self.model) as model:
            metrics = evaluate(model, self.test_loader, self.group)
        self.log.metrics(kind='eval', epoch=epoch + 1, step=progress['step'], **metrics)
        self.log.line(f'epoch {epoch + 1}/{self.cfg.TRAIN.NUM_EPOCHS} {describe(metrics)}')
        if progress['best'] is None or metrics['top1'] > progress['best']['top1']:
            progress['best'] = {'epoch': epoch + 1, **metrics}
            self.save(BEST)

    def save(self, name):
        """Write a checkpoint; all processes give what each has of its own."""
        statistics = self.group.gather(list(own_statistics(self.model, self.ema).values()))
        progress = {**self.progress, 'meters': self.group.gather_objects(self.meter.state())}
        if self.group.is_main:
            save_checkpoint(self.directory / name, self.cfg, self.classes, progress, self.model, self.ema, self.optimizer,
                            self.scaler, statistics, self.cfg.KEEP_CHECKPOINTS if name == LAST else 1)


class Meter:
    """Mean loss and speed since the last reset. Losses stay on the device until they are asked for."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.batches, self.images, self.begin = 0.0, 0, 0, time.perf_counter()

    def add(self, losses):
        for loss in losses:
            self.total, self.batches = self.total + loss, self.batches + 1

    def state(self):
        return [float(self.total), self.batches]

    def restore(self, total, batches):
        self.total, self.batches = total, batches

    def mean_loss(self, group):
        return group.mean(float(self.total) / self.batches)

    def images_per_second(self):
        return self.images / (time.perf_counter() - self.begin)


def stream_seed(*numbers):
    """A seed for Paddle's generator that differs for every step and process of a run."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
