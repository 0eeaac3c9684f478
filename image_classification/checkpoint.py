"""Checkpoints: one .safetensors file with all that a training needs to go on, and all that a prediction needs.

Tensors are named `model.*`, `ema.*`, `optimizer.<accumulator>.<parameter>` and `process.<number>.*`, the running statistics of
the processes other than the first; the rest is JSON in the file's metadata, with a checksum. Random numbers need no state: each
draw is made from (SEED, epoch, sample) or (SEED, step), so the position in `progress` fixes them.
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
    """How far a training has come: what is behind it."""
    epoch: int = 0
    batch: int = 0                                                 # batches of the epoch at hand
    step: int = 0                                                  # optimizer steps, of all epochs
    steps_per_epoch: int = 0
    best: dict = None                                              # the best evaluation: {'epoch', 'step', 'top1', ...}
    since_best: int = 0                                            # evaluations after it
    evaluated: dict = None                                         # the last evaluation
    meters: list = field(default_factory=list)                     # of each process, what its `Meter` has added up

    @classmethod
    def from_dict(cls, values):
        """From what `to_dict` of this version gave or of an earlier one, which had fewer keys."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    def to_dict(self):
        """As a checkpoint holds it."""
        return {name: value for name, value in vars(self).items() if name != 'evaluated' or value}

    def add_evaluation(self, record, counts=True):
        """Of equal evaluations, the first is the best. Without `counts`, those in vain are not counted yet."""
        better = self.best is None or record['top1'] > self.best['top1']
        self.evaluated = record
        self.best, self.since_best = (record, 0) if better else (self.best, self.since_best + counts)


@dataclass
class Checkpoint:
    """The content of a checkpoint file, as arrays."""
    path: Path
    cfg: CfgNode
    class_names: list
    progress: Progress
    model: dict
    ema: dict                                                      # empty without a moving average
    optimizer: dict
    scaler: dict
    process: dict = field(default_factory=dict)                    # {'<number>.<model or ema>.<name>': running statistics}
    damaged: list = field(default_factory=list)                    # (path, reason) of newer ones that were passed over


def read_checkpoint(path):
    """The Checkpoint in a file. Raises UserError where it is missing, damaged, or something else."""
    path = Path(path)
    if not os.path.isfile(path):                                   # Path.is_file raises for a name that is too long
        raise UserError(f'no checkpoint at {shortened(str(path))}; wanted a .safetensors file that a training wrote, e.g. '
                        'last.safetensors')
    tensors, metadata = read_safetensors(path)
    if metadata.get('format') != FORMAT:
        raise UserError(f'{path} is no checkpoint of this library (its format is {metadata.get("format")!r}; wanted '
                        f'{FORMAT!r}). Weights from elsewhere go to -pretrained.')
    parts = {'model': {}, 'ema': {}, 'optimizer': {}, 'process': {}}
    for name, value in tensors.items():
        part, _, rest = name.partition('.')
        parts[part][rest] = value
    return Checkpoint(path=path, cfg=config_from_text(metadata['config'], str(path)),
                      class_names=json.loads(metadata['class_names']),
                      progress=Progress.from_dict(json.loads(metadata['progress'])),
                      scaler=json.loads(metadata['scaler']), **parts)


def write_network(path, network, cfg, class_names, dtype=np.float32):
    """Write a checkpoint of a network alone, which nothing goes on training from: the file is there whole or not at all."""
    metadata = {'format': FORMAT, 'config': cfg.dump(), 'class_names': as_json(class_names),
                'progress': json.dumps(Progress().to_dict()), 'scaler': '{}'}
    tensors = {f'model.{name}': tensor.numpy().astype(dtype) for name, tensor in network.state_dict().items()}
    write_safetensors(path, tensors, metadata)


def checkpoint_at(path):
    """The Checkpoint in a file, or None where there is no file, or one of weights only."""
    path = Path(path)
    if path.suffix != '.safetensors' or not os.path.isfile(path) or read_safetensors(path)[1].get('format') != FORMAT:
        return None
    return read_checkpoint(path)


def load_network(path):
    """(network in evaluation mode, class names) from a checkpoint: the moving average's weights where there is one."""
    checkpoint = read_checkpoint(path)
    model = build_model(checkpoint.cfg)
    load_state(model, checkpoint.ema or checkpoint.model, checkpoint.path)
    model.eval()
    return model, checkpoint.class_names


def named_network(name, weights='', check=None, num_classes=None, **options):
    """(network, class names) that a command line's NAME=WEIGHTS means: of a checkpoint as `load_network`, with its own
    preprocessing and classes; else `published_network`, without class names.

    Args:
        check, num_classes, options: as of `published_network`.
    Raises:
        UserError: as these, or a checkpoint of another network or number of classes.
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
    """Rename a damaged checkpoint, so that nothing takes it for a good one."""
    path.rename(path.with_name(f'damaged-{path.name}'))
