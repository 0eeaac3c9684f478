"""The first lines of a training's log: the network, the device, the data, the learning rate and the run directory."""
import paddle

from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.engine.run_directory import changes


def introduction(cfg, model, freeze, images, peak, group, directory):
    """The lines as a list.

    Args:
        freeze: see `freeze.py`. Parameters that it has frozen are counted, too.
        images: (number of training images, number of test images).
        peak: the highest learning rate.
    """
    parameters = count_parameters(model) + sum(p.size for p in freeze.parameters if p.stop_gradient)
    train, data = cfg.TRAIN, cfg.DATA
    total = data.BATCH_SIZE * train.ACCUM_ITER * group.world_size
    lines = [f'{cfg.MODEL.NAME}, {parameters:,} parameters, {_macs(model, data.IMAGE_SIZE)} at {data.IMAGE_SIZE} px, '
             f'{cfg.MODEL.NUM_CLASSES} classes; on {group.world_size} x {paddle.get_device()}',
             f'{data.DATASET}: {images[0]:,} images to train, {images[1]:,} to test; seed {cfg.SEED}',
             f'total batch {total}, learning rate {peak:.3g} at its peak'
             + (f', {peak * train.HEAD_LR_SCALE:.3g} in the classifier' if train.HEAD_LR_SCALE != 1 else '')]
    if freeze.parameters:
        until = f'in the first {train.FREEZE_EPOCHS} epochs' if freeze.thaws else 'throughout'
        lines.append(f'frozen: {", ".join(train.FREEZE)}; {freeze.trained:,} parameters are trained {until}')
    lines.append(f'writes to {directory}')
    return lines


def changed_since(checkpoint, cfg):
    """At most one line, in a list: how the configuration of a resumed training differs from the checkpoint's."""
    changed = [f'{key} {old} -> {new}' for key, old, new in changes(checkpoint, cfg)]
    return [f'changed since the checkpoint: {", ".join(changed)}'] if changed else []


def _macs(model, image_size):
    try:
        return f'{count_macs(model, image_size) / 1e6:.1f} M MACs'
    except RuntimeError as error:                                  # a user's network can be trained without this number
        return f'MACs not counted ({str(error).splitlines()[0]})'
