"""Exact statistics of batch norms, where their running averages cannot have caught up with the weights.

A running average that keeps 99 % at each step still has half of its initial values after 69 steps
(https://arxiv.org/abs/2105.07576, section 3), and that of averaged weights has seen the maps of other weights.
"""
import paddle

from image_classification.engine.freeze import NORMS
from image_classification.layers import running_statistics
from image_classification.progress import progress_bar

IMAGES = 1024                                                      # of all processes, about
_LEFT = 1e-3                                                       # share of what it began with that no longer matters


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
