"""The parts of a training: its data, its network, and its optimization."""
from dataclasses import dataclass

import paddle
from paddle import nn

from image_classification.datasets import Mixup, get_dataloader, get_dataset
from image_classification.datasets.loader import Loader
from image_classification.engine.ema import ModelEma
from image_classification.engine.freeze import Freeze
from image_classification.engine.losses import Criterion, build_criterion
from image_classification.engine.optim import build_optimizer, takes_long_arrays
from image_classification.engine.processes import distributed
from image_classification.engine.schedule import rate_scale
from image_classification.engine.step_guard import StepGuard
from image_classification.engine.sync_batch_norm import with_sync_batch_norm
from image_classification.errors import UserError
from image_classification.models import build_model


@dataclass
class TrainingData:
    """The images of this process, in batches."""
    loader: Loader
    test_loader: Loader
    classes: list                                                  # names
    mixup: Mixup
    steps_per_epoch: int
    notes: list                                                    # lines for the log
    told: int = 0                                                  # bad images that `new_bad_images` has already returned

    def new_bad_images(self):
        """Messages about training images that have turned out unreadable since the last call."""
        messages = self.loader.bad_images[self.told:]
        self.told += len(messages)
        return messages


def build_data(cfg, group):
    train, test = (get_dataset(cfg, is_train, channels=cfg.MODEL.IN_CHANNELS) for is_train in (True, False))
    loader = get_dataloader(cfg, train, True, group.rank, group.world_size)
    test_loader = get_dataloader(cfg, test, False, group.rank, group.world_size)
    steps = len(loader) // cfg.TRAIN.ACCUM_ITER
    if not steps:
        raise UserError(f'TRAIN.ACCUM_ITER is {cfg.TRAIN.ACCUM_ITER}, but an epoch has only {len(loader)} batches; '
                        'wanted at most that many. Lower it or -batch_size.')
    notes = list(dict.fromkeys([*train.notes, *test.notes]))
    return TrainingData(loader, test_loader, list(train.classes), Mixup.from_config(cfg), steps, notes)


@dataclass
class TrainingNetwork:
    """The network, its moving average, and which of its layers learn."""
    model: nn.Layer
    parallel: nn.Layer                                             # `model`, or a DataParallel around it: see `build_network`
    ema: ModelEma
    freeze: Freeze
    notes: list                                                    # lines for the log

    def begin_epoch(self, epoch):
        self.parallel.train()
        self.freeze.begin(epoch)


def build_network(cfg, group):
    """Build the network with fresh weights, the same in all processes.

    This comes before other weights are loaded, because a checkpoint has running statistics for each process. With several
    processes, Paddle's DataParallel averages the gradients during the backward pass. On a CPU the optimizer averages them all
    at once instead: main job with two processes, 8 ms per step instead of about 60.
    """
    model, notes = with_sync_batch_norm(cfg, build_model(cfg), group)
    freeze = Freeze(model, cfg.TRAIN.FREEZE, cfg.TRAIN.FREEZE_EPOCHS, cfg.TRAIN.FREEZE_BN)
    ema = ModelEma(model, cfg.TRAIN.MODEL_EMA_DECAY, cfg.TRAIN.MODEL_EMA, cfg.TRAIN.MODEL_EMA_WARMUP)
    parallel = model
    if takes_long_arrays(cfg):
        group.broadcast_(model.state_dict().values())
    elif group.world_size > 1:
        parallel = paddle.DataParallel(model, find_unused_parameters=freeze.thaws)
    return TrainingNetwork(model, parallel, ema, freeze, notes)


@dataclass
class Optimization:
    """The loss, the optimizer, and what belongs to them."""
    criterion: Criterion
    optimizer: object                                              # one of Paddle's, or `FlatOptimizer`
    scaler: paddle.amp.GradScaler                                  # passes float32 through if it is disabled
    guard: StepGuard
    rate_scale: float                                              # factor for the learning rates of the configuration
    amp: bool                                                      # whether mixed precision is used


def build_optimization(cfg, group, model, classes):
    optimizer = build_optimizer(cfg, model, group.average_)
    amp = cfg.AMP and distributed.gpu_count() > 0
    return Optimization(criterion=build_criterion(cfg, classes, amp),
                        optimizer=optimizer,
                        scaler=paddle.amp.GradScaler(enable=amp and cfg.AMP_DTYPE == 'float16'),
                        guard=StepGuard(model, group, cfg.TRAIN.MAX_BAD_STEPS, getattr(optimizer, 'gather', None)),
                        rate_scale=rate_scale(cfg, group.world_size),
                        amp=amp)
