"""Optimizer and learning rate from the configuration."""
import math

import paddle

from image_classification.errors import UserError


def learning_rate(step, steps_per_epoch, train):
    """The rate of optimizer step `step` (from 0): linear warm-up, then a cosine that ends at the last step of the last epoch.

    `train` is cfg.TRAIN; its rates are taken as they are, see `rate_scale`.
    """
    warmup = train.WARMUP_EPOCHS * steps_per_epoch
    if step < warmup:
        return train.WARMUP_START_LR + (train.BASE_LR - train.WARMUP_START_LR) * step / warmup
    last = max(train.NUM_EPOCHS * steps_per_epoch - 1, warmup + 1)
    progress = min((step - warmup) / (last - warmup), 1.0)
    return train.END_LR + (train.BASE_LR - train.END_LR) * (1 + math.cos(math.pi * progress)) / 2


def rate_scale(cfg, world_size):
    """What all rates are multiplied with: total batch / TRAIN.LINEAR_SCALED_LR, or 1."""
    if not cfg.TRAIN.LINEAR_SCALED_LR:
        return 1.0
    return cfg.DATA.BATCH_SIZE * cfg.TRAIN.ACCUM_ITER * world_size / cfg.TRAIN.LINEAR_SCALED_LR


def decayed_parameters(model):
    """Names of the parameters that take weight decay: not norms, biases (one axis), nor the model's `no_weight_decay()`."""
    exempt = model.no_weight_decay()
    return {name for name, parameter in model.named_parameters() if parameter.ndim > 1 and name not in exempt}


def build_optimizer(cfg, model):
    """AdamW or SGD with momentum over the trainable parameters; the rate is set at each step."""
    train = cfg.TRAIN
    parameters = [parameter for parameter in model.parameters() if not parameter.stop_gradient]
    decayed = decayed_parameters(model)
    shared = {'learning_rate': train.BASE_LR, 'parameters': parameters, 'weight_decay': train.WEIGHT_DECAY,
              'grad_clip': paddle.nn.ClipGradByGlobalNorm(train.GRAD_CLIP) if train.GRAD_CLIP > 0 else None}
    if train.OPTIMIZER.NAME.lower() == 'adamw':
        global_names = {parameter.name for name, parameter in model.named_parameters() if name in decayed}
        beta1, beta2 = train.OPTIMIZER.BETAS
        return paddle.optimizer.AdamW(beta1=beta1, beta2=beta2, epsilon=train.OPTIMIZER.EPS,
                                      apply_decay_param_fun=global_names.__contains__, **shared)
    if train.OPTIMIZER.NAME.lower() == 'sgd':
        for name, parameter in model.named_parameters():
            if name not in decayed:                                # parameter groups would clip each group by itself
                parameter.regularizer = paddle.regularizer.L2Decay(0.0)
        return paddle.optimizer.Momentum(momentum=train.OPTIMIZER.MOMENTUM, use_nesterov=train.OPTIMIZER.NESTEROV, **shared)
    raise UserError(f'TRAIN.OPTIMIZER.NAME is {train.OPTIMIZER.NAME!r}; wanted AdamW or SGD')
