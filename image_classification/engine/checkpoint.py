"""Save and restore the state of a training. The file format is described in `image_classification/checkpoint.py`."""
import json
import os
import shutil

import numpy as np
import paddle

from image_classification.checkpoint import FORMAT
from image_classification.datasets.classes import difference
from image_classification.engine.flat import to_arrays
from image_classification.engine.processes.distributed import Group
from image_classification.errors import UserError
from image_classification.layers import running_statistics
from image_classification.names.text import as_json
from image_classification.weights import load_state, write_safetensors


def save_checkpoint(path, cfg, class_names, progress, model, ema, optimizer, scaler, statistics=((),),
                    earlier=()):
    """Write the state of a training atomically: a reader of `path` sees either the old checkpoint or this one.

    Args:
        statistics: values of `own_statistics` per process, from `Group.gather`.
        earlier: paths for older checkpoints: the file at `path` moves to the first of them, that one to the second, and so on.
    Raises:
        UserError: weights or running statistics are NaN or infinite. Nothing is written then, so older checkpoints survive.
    """
    tensors = {f'model.{name}': value for name, value in to_arrays(model.state_dict()).items()}
    tensors.update({f'ema.{name}': value for name, value in to_arrays(ema.state_dict()).items()})
    trained = {name for name, _ in model.named_parameters()}       # buffers, such as masks, may be infinite
    spoilt = [name for name, value in tensors.items()
              if name.partition('.')[2] in trained and value.dtype.kind == 'f' and not np.isfinite(value).all()]
    if spoilt:
        raise UserError(f'{len(spoilt)} of {len(tensors)} weights and statistics of the network are NaN or infinite after step '
                        f'{progress.step}, the first is {spoilt[0]}; {path.name} is not written, what was saved before stays. '
                        'Lower TRAIN.BASE_LR or set TRAIN.GRAD_CLIP')
    tensors.update({f'optimizer.{name}': value for name, value in _optimizer_state(optimizer, model).items()})
    for rank, values in enumerate(statistics[1:], 1):
        tensors.update({f'process.{rank}.{name}': value for name, value in zip(own_statistics(model, ema), values)})
    scaler_state = {key: np.asarray(value).tolist() for key, value in scaler.state_dict().items()}
    metadata = {'format': FORMAT, 'config': cfg.dump(), 'class_names': as_json(list(class_names)),
                'progress': json.dumps(progress.to_dict()), 'scaler': json.dumps(scaler_state)}
    fresh = path.with_name(f'.{path.name}.fresh.tmp')
    write_safetensors(fresh, tensors, metadata)                    # on a full disk this fails before anything has moved
    try:
        _move_on([path, *earlier])
        os.replace(fresh, path)
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror or error}. Free some space or choose another directory '
                        '(-output).') from None


def _move_on(paths):
    """Move last-1 to last-2 and last to last-1, so that a complete `last` exists at every moment."""
    for source, target in reversed(list(zip(paths, paths[1:]))):
        if not source.exists():
            continue
        second = target.with_name(f'.{target.name}.tmp')
        second.unlink(missing_ok=True)
        try:
            os.link(source, second)
        except OSError:                                            # a file system without hard links
            shutil.copyfile(source, second)
        os.replace(second, target)


def own_statistics(model, ema):
    """{name in a checkpoint: tensor} of the running statistics, which differ between processes."""
    return {f'{part}.{name}': tensor for part, state in (('model', model.state_dict()), ('ema', ema.state_dict()))
            for name, tensor in running_statistics(state).items()}


def check_same_training(checkpoint, cfg, classes):
    """Raise UserError unless the checkpoint has the same network, classes and optimizer as this training."""
    theirs, ours = checkpoint.cfg.MODEL, cfg.MODEL
    free = ('GRAD_CHECKPOINTING', 'DROPOUT', 'DROPPATH', 'ATTENTION_DROPOUT', 'MLP_DROPOUT')
    differ = [f'MODEL.{key} is {theirs.get(key)!r}, the configuration\'s is {ours[key]!r}'
              for key in ours if key not in free and theirs.get(key) != ours[key]]
    names = checkpoint.cfg.TRAIN.OPTIMIZER.NAME, cfg.TRAIN.OPTIMIZER.NAME
    if not cfg.EVAL and names[0] != names[1]:
        differ.append(f'TRAIN.OPTIMIZER.NAME is {names[0]!r}, the configuration\'s is {names[1]!r}')
    if differ:
        raise UserError(f'{checkpoint.path} is of another model or training: its {differ[0]}. Give the -cfg that it was made '
                        'with, or take only its weights by -pretrained.')
    differs = difference(classes, checkpoint.class_names, 'the data set', 'the checkpoint')
    if differs:
        raise UserError(f'{checkpoint.path} was trained on other classes than the data set has: {differs}. Use the data set '
                        'that it was trained on, or take only its weights by -pretrained.')


def restore_checkpoint(checkpoint, model, ema, optimizer, scaler, group=Group()):
    """Restore one process of a training to the state saved by `save_checkpoint`.

    If the number of processes has changed, all of them get the running statistics of the first.
    """
    load_state(model, checkpoint.model, checkpoint.path)
    ema.set_state_dict(checkpoint.ema or checkpoint.model)
    if len({name.partition('.')[0] for name in checkpoint.process}) == group.world_size - 1 and group.rank:
        for name, tensor in own_statistics(model, ema).items():
            tensor.set_value(checkpoint.process[f'{group.rank}.{name}'])
    _set_optimizer_state(optimizer, model, checkpoint.optimizer)
    if checkpoint.scaler:
        scaler.load_state_dict({key: np.float32(value) if key == 'scale' else value
                                for key, value in checkpoint.scaler.items()})


def _optimizer_state(optimizer, model):
    """{accumulator.parameter: array}, with the parameters' names in the model.

    Paddle names accumulators after the parameters' global names, which change with every model that a process builds.
    """
    state = optimizer.state_dict()
    named = {}
    for name, parameter in model.named_parameters():
        prefix = f'{parameter.name}_'
        for key in [key for key in state if key.startswith(prefix)]:
            accumulator = key[len(prefix):].rsplit('_', 1)[0]      # moment1_0 -> moment1
            named[f'{accumulator}.{name}'] = state[key].numpy()
    return named


def _set_optimizer_state(optimizer, model, named):
    parameters = dict(model.named_parameters())
    state = {}
    for key, value in named.items():
        accumulator, _, name = key.partition('.')
        state[f'{parameters[name].name}_{accumulator}_0'] = paddle.to_tensor(value)
    optimizer.set_state_dict(state)
