"""The training: build, resume, then per epoch train, evaluate, save; at the end export."""
import contextlib
import time

import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.datasets import Mixup, get_dataloader, get_dataset
from image_classification.engine import distributed
from image_classification.engine.checkpoint import restore_checkpoint, save_checkpoint
from image_classification.engine.ema import ModelEma
from image_classification.engine.evaluate import evaluate
from image_classification.engine.optim import build_optimizer, learning_rate, rate_scale
from image_classification.engine.run import BEST, LAST, RunLog, find_checkpoint, new_run_directory, run_directory
from image_classification.engine.summary import finish
from image_classification.errors import UserError
from image_classification.models import build_model
from image_classification.pretrained import load_pretrained
from image_classification.weights import load_state


def run(cfg, group):
    """Train, or with cfg.EVAL evaluate, as one process of `group`. Returns the metrics of the best or only evaluation."""
    for key in ('ACCUM_ITER', 'NUM_EPOCHS'):
        check_positive(f'TRAIN.{key}', cfg.TRAIN[key])
    for key in ('SAVE_FREQ', 'REPORT_FREQ', 'VALIDATE_FREQ'):
        check_positive(key, cfg[key])
    if cfg.AMP_DTYPE not in ('float16', 'bfloat16'):
        raise UserError(f'AMP_DTYPE is {cfg.AMP_DTYPE!r}; wanted float16 or bfloat16')
    paddle.seed(cfg.SEED)                                          # the same initial weights in every process
    return run_evaluation(cfg, group) if cfg.EVAL else Trainer(cfg, group).train()


def check_positive(key, value):
    if value < 1:
        raise UserError(f'{key} is {value}; wanted 1 or more')


def run_evaluation(cfg, group):
    checkpoint = find_checkpoint(cfg)
    if not checkpoint and not cfg.MODEL.PRETRAINED:
        raise UserError('-eval has nothing to evaluate; give weights by -pretrained, or a checkpoint by -resume')
    data = get_dataset(cfg, is_train=False, channels=cfg.MODEL.IN_CHANNELS)
    model = build_model(cfg)
    if checkpoint:
        check_same_model(checkpoint, cfg, data.classes)
        load_state(model, checkpoint.ema or checkpoint.model, checkpoint.path)
    else:
        _, dropped = load_pretrained(model, cfg.MODEL.PRETRAINED)
        if dropped:
            raise UserError(f'{cfg.MODEL.PRETRAINED} has another number of classes than {cfg.MODEL.NUM_CLASSES}; set '
                            '-num_classes')
    log = RunLog(new_run_directory(cfg) if group.is_main else None)
    metrics = evaluate(model, get_dataloader(cfg, data, False, group.rank, group.world_size), group)
    log.metrics(kind='eval', **metrics)
    log.line(describe(metrics))
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

    def __init__(self, cfg, group):
        self.cfg, self.group = cfg, group
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
        self.model = build_model(cfg)
        self.optimizer = build_optimizer(cfg, self.model)
        self.ema = ModelEma(self.model, cfg.TRAIN.MODEL_EMA_DECAY, cfg.TRAIN.MODEL_EMA)
        self.amp = cfg.AMP and distributed.gpu_count() > 0
        self.scaler = paddle.amp.GradScaler(enable=self.amp and cfg.AMP_DTYPE == 'float16')
        self.scale = rate_scale(cfg, group.world_size)
        self.progress = {'epoch': 0, 'batch': 0, 'step': 0, 'steps_per_epoch': self.steps_per_epoch, 'best': None}
        checkpoint = find_checkpoint(cfg)
        notes = self.resume(checkpoint) if checkpoint else self.load_pretrained()
        self.directory = run_directory(cfg, checkpoint) if group.is_main else None
        self.log = RunLog(self.directory, cfg.TRAIN.NUM_EPOCHS * self.steps_per_epoch, self.progress['step'])
        self.parallel = paddle.DataParallel(self.model) if group.world_size > 1 else self.model
        self.introduce(notes)

    def resume(self, checkpoint):
        """Go on where a checkpoint was written. Returns lines for the log."""
        check_same_model(checkpoint, self.cfg, self.classes)
        restore_checkpoint(checkpoint, self.model, self.ema, self.optimizer, self.scaler)
        progress = self.progress = checkpoint.progress
        notes = [f'resumed from {checkpoint.path} after {progress["step"]} steps']
        if progress['steps_per_epoch'] != self.steps_per_epoch:
            progress.update(batch=0, step=progress['epoch'] * self.steps_per_epoch, steps_per_epoch=self.steps_per_epoch)
            notes.append(f'an epoch has {self.steps_per_epoch} steps now: goes on at the start of epoch '
                         f'{progress["epoch"] + 1}')
        if checkpoint.path.name != LAST or not checkpoint.path.with_name(BEST).is_file():
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
        meter = Meter()
        self.parallel.train()
        while progress['batch'] < end and not self.stopped:
            paddle.seed(stream_seed(cfg.SEED, progress['step'], self.group.rank))  # dropout depends on the step alone
            rate = learning_rate(progress['step'], self.steps_per_epoch, cfg.TRAIN) * self.scale
            self.optimizer.set_lr(rate)
            for i in range(accum):
                images, labels = next(batches)
                loss = self.backward(images, labels, [epoch, progress['batch'] + i], last=i + 1 == accum)
                meter.add(loss, len(images))
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.clear_grad()
            progress['step'] += 1
            progress['batch'] += accum
            self.ema.update(self.model, progress['step'])
            self.log.step(epoch + 1, loss, lambda: meter.images_per_second() * self.group.world_size)
            if progress['step'] % cfg.REPORT_FREQ == 0 or progress['batch'] == end or self.stopped:
                self.report(epoch, rate, meter)
        if progress['batch'] == end:
            progress.update(epoch=epoch + 1, batch=0)

    def backward(self, images, labels, position, last):
        """Loss of the batch at `position`, and its gradients; the last one of a step sums them over all processes."""
        cfg = self.cfg
        images, targets = self.mixup(images, labels, np.random.default_rng([cfg.SEED, *position, self.group.rank]))
        alone = self.group.world_size > 1 and not last
        with self.parallel.no_sync() if alone else contextlib.nullcontext():
            with paddle.amp.auto_cast(enable=self.amp, dtype=cfg.AMP_DTYPE):
                outputs = self.parallel(images)
            loss = criterion(outputs, targets, cfg.TRAIN.AUX_LOSS_WEIGHT)
            self.scaler.scale(loss / cfg.TRAIN.ACCUM_ITER).backward()
        return loss.detach()

    def report(self, epoch, rate, meter):
        """A line in the log and in metrics.jsonl: the mean loss since the last report."""
        step, loss = self.progress['step'], meter.mean_loss(self.group)
        speed = meter.images_per_second() * self.group.world_size
        if not np.isfinite(loss):
            raise UserError(f'the loss is {loss} at step {step}. Lower TRAIN.BASE_LR, set TRAIN.GRAD_CLIP, or turn -amp off; '
                            'the last checkpoint is kept.')
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
        self.group.average_([buffer for buffer in self.model.buffers() if buffer.stop_gradient])
        if self.ema.average:
            self.group.average_([self.ema.average[name] for name, _ in self.model.named_buffers()])
        with self.ema.applied_to(self.model) as model:
            metrics = evaluate(model, self.test_loader, self.group)
        self.log.metrics(kind='eval', epoch=epoch + 1, step=progress['step'], **metrics)
        self.log.line(f'epoch {epoch + 1}/{self.cfg.TRAIN.NUM_EPOCHS} {describe(metrics)}')
        if progress['best'] is None or metrics['top1'] > progress['best']['top1']:
            progress['best'] = {'epoch': epoch + 1, **metrics}
            self.save(BEST)

    def save(self, name):
        if self.group.is_main:
            save_checkpoint(self.directory / name, self.cfg, self.classes, self.progress, self.model, self.ema, self.optimizer,
                            self.scaler)


def criterion(outputs, targets, aux_weight):
    """Cross entropy of logits, or of (logits, aux, ...) with the auxiliary ones weighted; targets (B, classes) are shares."""
    heads = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    losses = [F.cross_entropy(head.astype('float32'), targets, soft_label=True) for head in heads]
    return losses[0] + aux_weight * sum(losses[1:])


class Meter:
    """Mean loss and speed since the last reset. Losses stay on the device until they are asked for."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.batches, self.images, self.begin = 0.0, 0, 0, time.perf_counter()

    def add(self, loss, images):
        self.total, self.batches, self.images = self.total + loss, self.batches + 1, self.images + images

    def mean_loss(self, group):
        return group.mean(float(self.total) / self.batches)

    def images_per_second(self):
        return self.images / (time.perf_counter() - self.begin)


def stream_seed(*numbers):
    """A seed for Paddle's generator that differs for every step and process of a run."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
