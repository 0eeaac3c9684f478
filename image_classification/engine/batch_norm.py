"""Exact statistics of batch norms, for when their running averages lag behind the weights.

A running average that keeps 99 % at each step still contains half of its initial value after 69 steps
(https://arxiv.org/abs/2105.07576, section 3). The running averages of averaged weights come from feature maps of other weights.
"""
import contextlib

import paddle
from paddle import nn

from image_classification.engine.freeze import NORMS, is_below
from image_classification.errors import UserError
from image_classification.layers import running_statistics
from image_classification.progress import progress_bar

IMAGES = 1024                                                      # images to average over, about, in all processes together
_LEFT = 1e-3                                                       # share of the initial value that no longer matters
_SAME = 1e-5                                                       # relative difference of outputs that counts as rounding


def learning_norms(model):
    """The batch norms that update their statistics; those in evaluation mode are frozen."""
    return [layer for layer in model.sublayers(include_self=True)
            if isinstance(layer, NORMS) and layer.training and not layer._use_global_stats]


def lags_behind(norms, ema, steps, batches_per_step=1):
    """Whether, after `steps`, the running average of a norm or of the weights still contains some of its initial value."""
    return bool(norms) and (any(norm._momentum ** (steps * batches_per_step) > _LEFT for norm in norms)
                            or bool(ema.average) and ema.decay ** steps > _LEFT)


def batches_to_average(loader, batch_size, group):
    """Number of batches that each process takes from its training loader; the same in all processes."""
    return min(len(loader), max(1, IMAGES // (batch_size * group.world_size)))


@paddle.no_grad()
def renew_statistics(model, norms, ema, loader, epoch, count, group):
    """Recompute the mean and variance of `norms` from the first `count` batches of an epoch, in training mode.

    `model` must already have the averaged weights, if `ema` has any; `ema` gets the new statistics, too. The variance is that
    of all images together: the mean of the batches' variances plus the variance of their means. It fits an evaluation, whose
    images come from the whole data set, and does not depend on the batch size. Images are not mixed (mixup, cutmix), as they
    are not in an evaluation.
    """
    mean = square = weight = 0.0
    momenta = [norm._momentum for norm in norms]
    batches = progress_bar(loader.epoch(epoch, stop=count), count, 'batch norm', enabled=group.is_main, leave=False)
    try:
        for norm in norms:
            norm._momentum = 0.0                                   # running statistics are then those of the last batch
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
    """Finds batch norms whose outputs do not depend on the picture, which may happen with batches of a single picture.

    If a norm gets one value per channel, it subtracts that value as the mean. If a mean over all pixels follows the norm, the
    result is the norm's bias. Nothing is learned then. Only the first batch of each shape is checked; others cost nothing.
    """

    def __init__(self, model, group):
        self.model, self.group, self.seen = model, group, set()

    @contextlib.contextmanager
    def checked(self, images):
        """Check the forward pass within the block. Raises UserError if such a norm is found."""
        shape = tuple(images.shape)
        if shape in self.seen:
            yield
            return
        self.seen.add(shape)
        order = []                                                 # (name, values per channel) of norms that are not frozen
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
            raise UserError(f'after the batch norm {blind[0]}{more}, all pictures give the same in a batch of {shape[0]} at '
                            f'{shape[-2]} x {shape[-1]} pixels: it subtracts the mean of each channel, and nothing is left. '
                            'Set -batch_size 2 or more (TRAIN.ACCUM_ITER does not help), or, with -pretrained weights, '
                            'TRAIN.FREEZE_BN True')

    def _hook(self, name, order):
        def look(layer, inputs):
            if layer.training and not layer._use_global_stats:
                shared = self.group.world_size if isinstance(layer, nn.SyncBatchNorm) else 1
                order.append((name, inputs[0].size * shared // layer._mean.shape[0]))
        return look


@paddle.no_grad()
def _gives_the_same(model, images):
    """Whether a network in training mode gives the same outputs for these images and for noise. Its state is restored."""
    classifier = [value for name, value in model.named_parameters() if is_below(name, model.classifier_layers) and value.ndim > 1]
    if classifier and not any(value.any().item() for value in classifier):
        return False                                               # its weights start at zero, so all outputs are equal
    random, statistics = paddle.get_rng_state(), running_statistics(model.state_dict())
    before = {name: tensor.clone() for name, tensor in statistics.items()}
    noise, outputs = paddle.randn(images.shape, images.dtype), []
    for batch in (images, noise):
        paddle.set_rng_state(random)                               # the same dropout in both passes
        output = model(batch)
        outputs.append((output[0] if isinstance(output, (list, tuple)) else output).astype('float32'))
    for name, tensor in statistics.items():
        tensor.set_value(before[name])
    paddle.set_rng_state(random)
    # If the last norm's bias is still zero, the outputs are zero, too. The classifier's weights give a scale then.
    size = max([outputs[0].abs().max().item(), *(value.norm().item() / value.shape[-1] ** 0.5 for value in classifier)])
    return (outputs[0] - outputs[1]).abs().max().item() <= _SAME * size
