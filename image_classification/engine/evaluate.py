"""Accuracy and loss of a network on a data set."""
import math
import sys
from pathlib import Path

import paddle
import paddle.nn.functional as F

from image_classification.checkpoint import checkpoint_at
from image_classification.datasets import get_dataloader, get_dataset
from image_classification.datasets.check import check_pictures
from image_classification.datasets.classes import are_known, match_classes, unknown
from image_classification.datasets.files import labelled_folder
from image_classification.datasets.labelled import all_classes
from image_classification.engine.checkpoint import check_same_training
from image_classification.engine.doubts import Tally, of_evaluation
from image_classification.engine.report import Confusion, write_per_class
from image_classification.engine.run_directory import find_checkpoint, new_run_directory
from image_classification.engine.run_log import RunLog
from image_classification.errors import READER_GONE, UserError
from image_classification.models import build_model
from image_classification.progress import progress_bar
from image_classification.weights import load_state
from image_classification.weights.pretrained import load_whole


def evaluate_weights(cfg, group, opening=()):
    """Evaluate a checkpoint (RESUME) or weights (PRETRAINED), and write the result to a new run directory.

    Args:
        opening: first lines of the log.
    Returns:
        The metrics of `evaluate`.
    """
    checkpoint = find_checkpoint(cfg, group)
    if not checkpoint and not cfg.PRETRAINED:
        raise UserError('-eval has nothing to evaluate; give weights by -pretrained, or a checkpoint by -resume')
    known = checkpoint or checkpoint_at(cfg.PRETRAINED)
    data, notes = _pictures(cfg, known)
    notes += check_pictures(data, group)
    model = build_model(cfg)
    if checkpoint:
        check_same_training(checkpoint, cfg, checkpoint.class_names)
        load_state(model, checkpoint.ema or checkpoint.model, checkpoint.path)
    else:
        load_whole(model, cfg.PRETRAINED, 'set -num_classes')
    log = RunLog(new_run_directory(cfg) if group.is_main else None)
    for line in [*opening, *notes]:
        log.line(line)
    tally = (Confusion if cfg.PER_CLASS else Tally)(cfg.MODEL.NUM_CLASSES)
    metrics = evaluate(model, get_dataloader(cfg, data, False, group.rank, group.world_size), group, tally)
    log.metrics(kind='eval', **metrics)
    for line in [describe(metrics, cfg.MODEL.NUM_CLASSES), *of_evaluation(metrics, tally, data.classes).values()]:
        log.line(line)
    if cfg.PER_CLASS and group.is_main:
        for line in write_per_class(tally, data.classes, log.directory):
            log.line(line)
    if log.reader_gone:
        sys.exit(READER_GONE)
    return metrics


def _pictures(cfg, checkpoint):
    """(data set to evaluate, lines about it). Classes are matched by name if data and weights both have names."""
    names = checkpoint.class_names if checkpoint else []
    is_folder = names and cfg.DATA.DATASET == 'folder'
    if not is_folder or not are_known(names) and unknown(all_classes(cfg.DATA.DATA_PATH), names):
        data = get_dataset(cfg, is_train=False, channels=cfg.MODEL.IN_CHANNELS)
        return data, [*data.notes, *match_classes(data, names, checkpoint.path if checkpoint else cfg.PRETRAINED)]
    trained = checkpoint.cfg.DATA
    same = trained.DATASET == 'folder' and Path(trained.DATA_PATH).resolve() == Path(cfg.DATA.DATA_PATH).resolve()
    return labelled_folder(cfg, cfg.MODEL.IN_CHANNELS, checkpoint.class_names, whole=not same)


def says_something(classes):
    """Whether top-5 is meaningful: with five classes or fewer it is always 100 %."""
    return classes > 5


def describe(metrics, classes):
    top5 = f'top-5 {metrics["top5"]:.2f} %, ' if says_something(classes) else ''
    return f'top-1 {metrics["top1"]:.2f} %, {top5}loss {metrics["loss"]:.4f} on {metrics["images"]} images'


@paddle.no_grad()
def evaluate(model, loader, group, tally=None):
    """{'top1', 'top5' in percent, 'loss', 'images'} over the images of all processes, each counted once.

    Keeps the network's mode (training or evaluation). `tally` (`doubts.Tally` or `report.Confusion`) counts labels and
    predictions.
    Raises:
        UserError: outputs are not finite, so that an accuracy would mean nothing. Raised in all processes.
    """
    was_training = model.training
    model.eval()
    sums = [0, 0, 0.0, 0, 0]
    for images, labels in progress_bar(loader.epoch(0), len(loader), 'evaluate', enabled=group.is_main, leave=False):
        group.watch.beat('evaluation')
        logits = model(images).astype('float32')
        k = min(5, logits.shape[1])
        best = logits.topk(k, axis=1)[1]                           # (B, k)
        hits = best == labels.unsqueeze(1)
        if tally is not None:
            tally.add(labels.numpy(), best[:, 0].numpy())
        loss = F.cross_entropy(logits, labels, reduction='sum')
        spoilt = len(labels) - logits.isfinite().all(axis=1).sum().item()
        for i, value in enumerate((hits[:, 0].sum().item(), hits.sum().item(), loss.item(), len(labels), spoilt)):
            sums[i] += value
    if was_training:
        model.train()
    if tally is not None:
        tally.merge(group)
    top1, top5, loss, images, spoilt = group.sum(sums)
    if spoilt or not math.isfinite(loss):
        raise UserError(f'the network gives NaN or infinite numbers for {int(spoilt)} of {int(images)} images to evaluate '
                        f'(loss {loss / images:.4g}): its weights or statistics are spoilt. Take an earlier checkpoint or '
                        'other weights; in a training, lower TRAIN.BASE_LR or set TRAIN.GRAD_CLIP')
    return {'top1': 100 * top1 / images, 'top5': 100 * top5 / images, 'loss': loss / images, 'images': int(images)}
