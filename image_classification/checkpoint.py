"""Checkpoints: one .safetensors file with everything needed to resume a training, and to predict.

Tensors are named `model.*`, `ema.*`, `optimizer.<accumulator>.<parameter>` and `process.<number>.*`. The last are the running
statistics of all processes but the first. Everything else is JSON in the file's metadata, with a checksum. The state of random
generators is not stored: each draw depends on (SEED, epoch, sample) or (SEED, step), so the position in `progress` fixes it.
"""
import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from yacs.config import CfgNode

from image_classification.config import config_from_text, get_config
from image_classification.config.bounds import shortened
from image_classification.errors import UserError
from image_classification.models import build_model, published_network
from image_classification.names.text import as_json
from image_classification.weights import load_state, read_safetensors, write_safetensors
from image_classification.weights.catalogue import file_in_library

FORMAT = 'paddle-mobile-backbones checkpoint 1'


@dataclass
class Progress:
    """How far a training has come."""
    epoch: int = 0                                                 # finished epochs
    batch: int = 0                                                 # finished batches of the current epoch
    step: int = 0                                                  # optimizer steps in all epochs
    steps_per_epoch: int = 0
    best: dict = None                                              # the best evaluation: {'epoch', 'step', 'top1', ...}
    since_best: int = 0                                            # evaluations since the best one
    evaluated: dict = None                                         # the last evaluation
    meters: list = field(default_factory=list)                     # state of the `Meter` of each process

    @classmethod
    def from_dict(cls, values):
        """From the result of `to_dict`. Earlier versions had fewer keys."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    def to_dict(self):
        """The form that is stored in a checkpoint."""
        return {name: value for name, value in vars(self).items() if name != 'evaluated' or value}

    def add_evaluation(self, record, counts=True):
        """Record an evaluation. Of equal ones, the first is the best. Without `counts`, `since_best` does not grow."""
        better = self.best is None or record['top1'] > self.best['top1']
        self.evaluated = record
        self.best, self.since_best = (record, 0) if better else (self.best, self.since_best + counts)


@dataclass
class Checkpoint:
    """The content of a checkpoint file; tensors are numpy arrays."""
    path: Path
    cfg: CfgNode
    class_names: list
    progress: Progress
    model: dict
    ema: dict                                                      # empty without a moving average
    optimizer: dict
    scaler: dict
    process: dict = field(default_factory=dict)                    # {'<number>.<model or ema>.<name>': running statistics}
    damaged: list = field(default_factory=list)                    # (path, reason) of newer checkpoints that are damaged


def read_checkpoint(path):
    """Read a Checkpoint from a file. Raises UserError if it is missing, damaged, or not a checkpoint."""
    path = Path(path)
    if not os.path.isfile(path):                                   # Path.is_file raises for a name that is too long
        raise UserError(f'no checkpoint at {shortened(str(path))}; wanted a .safetensors file that a training wrote, e.g. '
                        'last.safetensors')
    tensors, metadata = read_safetensors(path)
    if metadata.get('format') != FORMAT:
        raise UserError(f'{path} is not a checkpoint of this library (its format is {metadata.get("format")!r}; wanted '
                        f'{FORMAT!r}). Give weights from elsewhere to -pretrained.')
    parts = {'model': {}, 'ema': {}, 'optimizer': {}, 'process': {}}
    for name, value in tensors.items():
        part, _, rest = name.partition('.')
        parts[part][rest] = value
    return Checkpoint(path=path, cfg=config_from_text(metadata['config'], str(path)),
                      class_names=json.loads(metadata['class_names']),
                      progress=Progress.from_dict(json.loads(metadata['progress'])),
                      scaler=json.loads(metadata['scaler']), **parts)


def write_network(path, network, cfg, class_names, dtype=np.float32):
    """Write a checkpoint with a network only, which cannot be resumed. The file is written atomically."""
    metadata = {'format': FORMAT, 'config': cfg.dump(), 'class_names': as_json(class_names),
                'progress': json.dumps(Progress().to_dict()), 'scaler': '{}'}
    tensors = {f'model.{name}': tensor.numpy().astype(dtype) for name, tensor in network.state_dict().items()}
    write_safetensors(path, tensors, metadata)


def checkpoint_at(path):
    """Read a Checkpoint from a file. Returns None if there is no file, or if it holds only weights."""
    path = Path(path)
    if path.suffix != '.safetensors' or not os.path.isfile(path) or read_safetensors(path)[1].get('format') != FORMAT:
        return None
    return read_checkpoint(path)


def load_network(path):
    """(network in evaluation mode, class names) from a checkpoint. Uses the moving average of the weights if there is one."""
    checkpoint = read_checkpoint(path)
    model = build_model(checkpoint.cfg)
    load_state(model, checkpoint.ema or checkpoint.model, checkpoint.path)
    model.eval()
    return model, checkpoint.class_names


def named_network(name, weights='', check=None, num_classes=None, **options):
    """(network, class names) for NAME=WEIGHTS of a command line.

    If the weights are a checkpoint, it is loaded as in `load_network`, with its own preprocessing and classes. Otherwise the
    result is that of `published_network`, without class names.
    Args:
        check, num_classes, options: as in `published_network`.
    Raises:
        UserError: as in these functions, or the checkpoint has another network or number of classes.
    """
    weights = file_in_library(get_config(name).PUBLISHED.WEIGHTS, weights)
    checkpoint = checkpoint_at(weights) if weights else None
    if not checkpoint:
        return published_network(name, weights, check, num_classes, **options), []
    theirs = checkpoint.cfg.MODEL
    if theirs.NAME != name:
        raise UserError(f'{weights} is a checkpoint of {theirs.NAME}, not of {name}; give it alone, without {name}')
    if num_classes not in (None, theirs.NUM_CLASSES):
        raise UserError(f'{weights} is a checkpoint of {theirs.NUM_CLASSES} classes, not of {num_classes}; leave that out')
    model, class_names = load_network(weights)
    if check:
        check(model)
    return model, class_names


def set_aside(path):
    """Rename a damaged checkpoint, so that it is never taken for a good one."""
    path.rename(path.with_name(f'damaged-{path.name}'))
