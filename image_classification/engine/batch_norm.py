"""Exact statistics of batch norms, where their running averages cannot have caught up with the weights.

A running average that keeps 99 % at each step still has half of its initial values after 69 steps
(https://arxiv.org/abs/2105.07576, section 3), and that of averaged weights has seen the maps of other weights.
"""
import contextlib

import paddle
from paddle import nn

from image_classification.engine.freeze import NORMS, is_below
from image_classification.errors import UserError
from image_classification.layers import running_statistics
from image_classification.progress import progress_bar

IMAGES = 1024                                                      # of all processes, about
_LEFT = 1e-3                                                       # share of what it began with that no longer matters
_SAME = 1e-5                                                       # relative difference of outputs that is rounding


def learning_norms(model):
    """The batch norms that follow the batches: those in evaluation mode are frozen."""
    return [layer for layer in model.sublayers(include_self=True)
            if isinstance(layer, NORMS) and layer.training and not layer._use_global_stats]


def lags_behind(norms, ema, steps, batches_per_step=1):
    """Whether, after so many steps, the running average of a norm, or that of the weights, still knows where it began."""
    return bool(norms) and (any(norm._momentum ** (steps * batches_per_step) > _LEFT for norm in norms)
                            or bool(ema.average) and ema.decay ** steps > _LEFT)


def batches_to_average(loader, batch_size, group):
    """How many batches of a training loader each process takes: the same number in all of them."""
    return min(len(loader), max(1, IMAGES // (batch_size * group.world_size)))


@paddle.no_grad()
def renew_statistics(model, norms, ema, loader, epoch, count, group):
    """Give `norms` of `model`, which has its averaged weights where `ema` has some, the mean and the variance of all that they
    see in the first `count` batches of an epoch, in training mode; the average gets them, too.

    The variance is that of all images together, the mean of the batches' variances plus the variance of their means: what an
    evaluation normalizes is drawn from all images, not from one batch, and so the result does not depend on the batch size.
    Images are not mixed: those of an evaluation are not, either.
    """
    mean = square = weight = 0.0
    momenta = [norm._momentum for norm in norms]
    batches = progress_bar(loader.epoch(epoch, stop=count), count, 'batch norm', enabled=group.is_main, leave=False)
    try:
        for norm in norms:
            norm._momentum = 0.0                                   # the running statistics are those of the last batch
        for images, _ in batches:
            group.watch.beat('statistics of batch norm')
            model(images)
            own, variance = (paddle.concat([getattr(norm, name) for norm in norms]).astype('float64')
                             for name in ('_mean', '_variance'))
            mean, square, weight = (total + images.size * value for total, value in
                                    ((mean, own), (square, variance + own.square()), (weight, 1.0)))
    finally:
        for norm, momentum in zip(norms, momenta):
            norm._momentum = momentum
    mean, square = mean / weight, square / weight
    group.average_([mean, square])
    sizes = [norm._mean.shape[0] for norm in norms]
    variance = (square - mean.square()).clip(min=0.0)
    for norm, own_mean, own_variance in zip(norms, mean.split(sizes), variance.split(sizes)):
        norm._mean.set_value(own_mean.astype(norm._mean.dtype))
        norm._variance.set_value(own_variance.astype(norm._variance.dtype))
    state = model.state_dict()
    for name, tensor in running_statistics(ema.state_dict()).items():
        tensor.set_value(state[name])


class SinglePictures:
    """Finds batch norms behind which no two pictures differ, as may be where a batch is a single one: a norm gets one value per
    channel, whose mean is that value, or a mean over all pixels follows, which is then the norm's bias. Nothing is learned.
    The first batch of each shape is looked at; the others cost nothing."""

    def __init__(self, model, group):
        self.model, self.group, self.seen = model, group, set()

    @contextlib.contextmanager
    def checked(self, images):
        """Raises UserError where that is so in the forward pass within the block."""
        shape = tuple(images.shape)
        if shape in self.seen:
            yield
            return
        self.seen.add(shape)
        order = []                                                 # (name, values per channel) of each norm that follows the batch
        hooks = [layer.register_forward_pre_hook(self._hook(name, order))
                 for name, layer in self.model.named_sublayers() if isinstance(layer, NORMS)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        blind = [name for name, values in order if values <= 1]
        if not blind and order and shape[0] == 1 and _gives_the_same(self.model, images):
            blind = [order[-1][0]]
        if blind:
            more = f' and {len(blind) - 1} more' if blind[1:] else ''
            raise UserError(f'behind the batch norm {blind[0]}{more}, no two pictures differ in a batch of {shape[0]} at '
                            f'{shape[-2]} x {shape[-1]} pixels: it takes away the mean of each channel, and nothing else is left. Set '
                            '-batch_size 2 or more (TRAIN.ACCUM_ITER does not help), or, with -pretrained weights, '
                            'TRAIN.FREEZE_BN True')

    def _hook(self, name, order):
        def look(layer, inputs):
            if layer.training and not layer._use_global_stats:
                shared = self.group.world_size if isinstance(layer, nn.SyncBatchNorm) else 1
                order.append((name, inputs[0].size * shared // layer._mean.shape[0]))
        return look


@paddle.no_grad()
def _gives_the_same(model, images):
    """Whether a network in training mode gives for these images what it gives for noise. It is left as it is."""
    classifier = [value for name, value in model.named_parameters() if is_below(name, model.classifier_layers) and value.ndim > 1]
    if classifier and not any(value.any().item() for value in classifier):
        return False                                               # it begins with zeros: anything gives the same
    random, statistics = paddle.get_rng_state(), running_statistics(model.state_dict())
    before = {name: tensor.clone() for name, tensor in statistics.items()}
    noise, outputs = paddle.randn(images.shape, images.dtype), []
    for batch in (images, noise):
        paddle.set_rng_state(random)                               # the same is dropped
        output = model(batch)
        outputs.append((output[0] if isinstance(output, (list, tuple)) else output).astype('float32'))
    for name, tensor in statistics.items():
        tensor.set_value(before[name])
    paddle.set_rng_state(random)
    # Behind a norm whose bias is still zero, all outputs are: what others would be, the classifier's weights tell.
    size = max([outputs[0].abs().max().item(), *(value.norm().item() / value.shape[-1] ** 0.5 for value in classifier)])
    return (outputs[0] - outputs[1]).abs().max().item() <= _SAME * size
