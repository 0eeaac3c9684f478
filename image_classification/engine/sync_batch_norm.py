"""Batch norm over the images of all processes."""
from paddle import nn

from image_classification.engine.processes import distributed


def with_sync_batch_norm(cfg, model, group):
    """(the network, lines for the log). With TRAIN.SYNC_BN, batch norms exchange their statistics between processes.

    Names and weights stay the same, so that checkpoints fit both kinds. A single process has all images anyway. Paddle has no
    such layer for CPUs, so there each process normalizes by its own images.
    """
    if not cfg.TRAIN.SYNC_BN or group.world_size == 1:
        return model, []
    if not distributed.gpu_count():
        return model, ['SYNC_BN is for GPUs; each process normalizes by its own images']
    for layer in model.sublayers(include_self=True):
        for name, child in layer.named_children():
            if isinstance(child, (nn.BatchNorm1D, nn.BatchNorm2D)):
                layer.add_sublayer(name, _converted(child))        # Paddle's own convert_sync_batchnorm fails on initializers
    return model, ['batch norm over the images of all processes']


def _converted(norm):
    sync = nn.SyncBatchNorm(norm._num_features, norm._momentum, norm._epsilon, norm._weight_attr, norm._bias_attr,
                            norm._data_format)
    sync.weight, sync.bias, sync._mean, sync._variance = norm.weight, norm.bias, norm._mean, norm._variance
    return sync
