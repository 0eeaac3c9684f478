"""The learning rate of every optimizer step, from the configuration."""
import math

from image_classification.errors import UserError


def learning_rate(step, steps_per_epoch, train):
    """The rate of optimizer step `step` (from 0): linear warm-up, then TRAIN.LR_SCHEDULE, then END_LR to cool down.

    Step and exponential count from the start of training. Cosine and poly count from the end of the warm-up, and reach END_LR
    at the last step before the cool-down. Step counts in optimizer steps, like TensorFlow's staircase: with DECAY_EPOCHS 2.4
    the rate falls within an epoch, while timm waits for the next epoch.
    `train` is cfg.TRAIN; its rates are used unscaled, see `rate_scale`.
    """
    warmup = train.WARMUP_EPOCHS * steps_per_epoch
    if step < warmup:
        return train.WARMUP_START_LR + (train.BASE_LR - train.WARMUP_START_LR) * step / warmup
    if train.COOLDOWN_EPOCHS and step >= (train.NUM_EPOCHS - train.COOLDOWN_EPOCHS) * steps_per_epoch:
        return train.END_LR
    last = max((train.NUM_EPOCHS - train.COOLDOWN_EPOCHS) * steps_per_epoch - 1, warmup + 1)
    progress = min((step - warmup) / (last - warmup), 1.0)
    return SCHEDULES[train.LR_SCHEDULE](train, step / steps_per_epoch, progress)


def steps_in_all(train, steps_per_epoch):
    """Optimizer steps of the whole training."""
    steps = train.NUM_EPOCHS * steps_per_epoch
    return min(steps, train.MAX_STEPS or steps)


def peak_rate(train, steps_per_epoch):
    """The highest rate that the training reaches. It is below BASE_LR if the training ends within the warm-up, or if the
    schedule falls before the warm-up ends, as step and exponential may."""
    steps = steps_in_all(train, steps_per_epoch)
    warmup = math.ceil(train.WARMUP_EPOCHS * steps_per_epoch)
    cooldown = math.ceil((train.NUM_EPOCHS - train.COOLDOWN_EPOCHS) * steps_per_epoch)
    turns = {0, warmup - 1, warmup, cooldown - 1, cooldown, steps - 1}    # the rate is monotonic between two of these
    return max(learning_rate(step, steps_per_epoch, train) for step in turns if 0 <= step < steps)


def _cosine(train, epochs, progress):
    return train.END_LR + (train.BASE_LR - train.END_LR) * (1 + math.cos(math.pi * progress)) / 2


def _poly(train, epochs, progress):
    return train.END_LR + (train.BASE_LR - train.END_LR) * (1 - progress) ** train.POLY_POWER


def _step(train, epochs, progress):
    if train.DECAY_MILESTONES:
        return _decayed(train, sum(epochs >= milestone for milestone in train.DECAY_MILESTONES))
    return _decayed(train, math.floor(epochs / train.DECAY_EPOCHS + 1e-9))  # 7.2 / 2.4 is a little below 3


def _exponential(train, epochs, progress):
    return _decayed(train, epochs / train.DECAY_EPOCHS)


def _constant(train, epochs, progress):
    return train.BASE_LR


def _decayed(train, times):
    return max(train.BASE_LR * train.DECAY_RATE ** times, min(train.END_LR, train.BASE_LR))


# {name: function (cfg.TRAIN, epochs since the start, share of the way from the warm-up's end to END_LR) -> rate}
SCHEDULES = {'cosine': _cosine, 'step': _step, 'exponential': _exponential, 'poly': _poly, 'constant': _constant}


def check_schedule(train):
    """Raise UserError if warm-up and cool-down in cfg.TRAIN leave no epochs in between."""
    if train.COOLDOWN_EPOCHS and train.WARMUP_EPOCHS + train.COOLDOWN_EPOCHS >= train.NUM_EPOCHS:
        raise UserError(f'TRAIN.COOLDOWN_EPOCHS is {train.COOLDOWN_EPOCHS}; wanted 0, or a smaller number: of the '
                        f'{train.NUM_EPOCHS} epochs, {train.WARMUP_EPOCHS:g} are warm-up, and some must remain in between')


def rate_scale(cfg, world_size):
    """Factor for all learning rates: total batch size / TRAIN.LINEAR_SCALED_LR, or 1."""
    if not cfg.TRAIN.LINEAR_SCALED_LR:
        return 1.0
    return cfg.DATA.BATCH_SIZE * cfg.TRAIN.ACCUM_ITER * world_size / cfg.TRAIN.LINEAR_SCALED_LR
