"""Show where the time of a training step goes: python tools/benchmark_trainer.py -cfg configs/mnist5k/mobileformer_26m.yaml"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import contextlib
import time

import numpy as np
import paddle

from image_classification.config import argument_parser, config_from_args
from image_classification.config.options import IMAGES
from image_classification.engine import trainer
from image_classification.engine.processes.distributed import Group, gpu_count
from image_classification.errors import exit_with_message
from image_classification.files import temporary_directory

WARM_UP = 3                                                        # steps that are not counted
NETWORK = 'forward, loss, backward'


class Clock:
    """Holds {part: [seconds, CPU seconds]} for each step. Time that a part spends in another part counts for the inner one
    only."""

    def __init__(self):
        self.steps, self.inner = [], []

    def timed(self, part, function):
        """Wrap `function` so that its time counts as this part of the current step."""
        def call(*args, **kwargs):
            with self.part(part):
                return function(*args, **kwargs)
        return call

    @contextlib.contextmanager
    def part(self, part):
        begin = now()
        self.inner.append(np.zeros(2))
        try:
            yield
        finally:
            spent = now() - begin
            within = self.inner.pop()
            if self.inner:
                self.inner[-1] += spent
            if self.steps:
                self.steps[-1][part] = self.steps[-1].get(part, 0.0) + spent - within


def now():
    """[wall-clock time, CPU time of this process]. CPU time shows what the parts cost even if the machine does other work."""
    if gpu_count():
        paddle.device.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def attach(clock, training):
    """Time the parts of a Trainer by wrapping the methods that its loop calls."""
    optimization = training.optimization
    for part, owner, name in (
            ('waiting for data', training.meter, 'next'), ('mixing and targets', training.data, 'mixup'),
            (NETWORK, training, 'backward'),
            ('optimizer', optimization.scaler, 'step'), ('gradients set free', optimization.optimizer, 'clear_grad'),
            ('moving average', training.network.ema, 'update'),
            ('check for NaN', optimization.guard, 'begin'), ('check for NaN', optimization.guard, 'passes'),
            ('log', training, 'report'), ('log', training.log, 'step')):
        setattr(owner, name, clock.timed(part, getattr(owner, name)))
    set_lr = optimization.optimizer.set_lr

    def begin_step(rate):                                          # the first thing that a step does with one of its parts
        end = now()
        if clock.steps:
            clock.steps[-1]['whole'] = end - clock.begin
        clock.begin = end
        clock.steps.append({})
        set_lr(rate)
    optimization.optimizer.set_lr = begin_step


def measure(cfg):
    """Train without evaluation, and return the timed steps after the warm-up."""
    if not gpu_count():
        paddle.set_device('cpu')
    paddle.seed(cfg.SEED)
    training, clock = trainer.Trainer(cfg, Group()), Clock()
    training.begin()
    attach(clock, training)
    while not training.stopped:
        training.train_epoch(training.progress.epoch)
        training.end_epoch(training.progress.epoch)
    training.log.close()
    training.lock.release()
    return clock.steps[WARM_UP:-1]                                 # the end of the last step is not recorded


def table(steps):
    """Lines of a table: for each part, the medians of its milliseconds and of its shares of wall-clock and CPU time."""
    parts = dict.fromkeys(part for step in steps for part in step)
    rows = {part: [step.get(part, np.zeros(2)) for step in steps] for part in parts}
    whole = np.array(rows.pop('whole'))                            # (steps, 2)
    rows['the rest'] = whole - sum(np.array(values) for values in rows.values())
    rows['outside of the network, without waiting'] = whole - np.array(rows[NETWORK]) - np.array(rows['waiting for data'])
    rows['a step'] = whole
    lines = ['| part | ms | share of the time | share of the computing |', '|---|---|---|---|']
    for part, values in rows.items():
        time_share, computing_share = np.median(np.array(values) / whole, 0)
        lines.append(f'| {part} | {1000 * np.median(values, 0)[0]:.2f} | {time_share:.2%} | {computing_share:.2%} |')
    return lines


@exit_with_message
def main(argv=None):
    parser = argument_parser('The parts of a training step, as the trainer runs it; the flags are those of main_single_gpu.py.')
    parser.add_argument('-steps', type=int, default=30, bounds=IMAGES, help='steps to time')
    args = parser.parse_args(argv)
    cfg = config_from_args(args).clone()
    cfg.defrost()
    cfg.TRAIN.MAX_STEPS = WARM_UP + args.steps + 1
    with temporary_directory() as directory:
        cfg.SAVE = str(directory)
        steps = measure(cfg)
    print(f'\n{cfg.MODEL.NAME} at {cfg.DATA.IMAGE_SIZE} px, batch {cfg.DATA.BATCH_SIZE} x {cfg.TRAIN.ACCUM_ITER}, '
          f'{paddle.get_device()}, PaddlePaddle {paddle.__version__}; medians of {args.steps} steps\n')
    print('\n'.join(table(steps)))


if __name__ == '__main__':
    main()
