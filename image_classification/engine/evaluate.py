"""Accuracy and loss of a network on a data set."""
import paddle
import paddle.nn.functional as F

from image_classification.datasets import get_dataloader, get_dataset
from image_classification.engine.checkpoint import check_same_training
from image_classification.engine.report import Confusion, write_per_class
from image_classification.engine.run_directory import find_checkpoint, new_run_directory
from image_classification.engine.run_log import RunLog
from image_classification.errors import UserError
from image_classification.models import build_model
from image_classification.progress import progress_bar
from image_classification.weights import load_state
from image_classification.weights.pretrained import load_whole


def evaluate_weights(cfg, group):
    """Evaluate a checkpoint (RESUME) or weights (PRETRAINED), with a run directory for the result.

    Returns:
        the metrics of `evaluate`.
    """
    checkpoint = find_checkpoint(cfg, group)
    if not checkpoint and not cfg.PRETRAINED:
        raise UserError('-eval has nothing to evaluate; give weights by -pretrained, or a checkpoint by -resume')
    data = get_dataset(cfg, is_train=False, channels=cfg.MODEL.IN_CHANNELS)
    model = build_model(cfg)
    if checkpoint:
        check_same_training(checkpoint, cfg, data.classes)
        load_state(model, checkpoint.ema or checkpoint.model, checkpoint.path)
    else:
        load_whole(model, cfg.PRETRAINED, 'set -num_classes')
    log = RunLog(new_run_directory(cfg) if group.is_main else None)
    confusion = Confusion(cfg.MODEL.NUM_CLASSES) if cfg.PER_CLASS else None
    metrics = evaluate(model, get_dataloader(cfg, data, False, group.rank, group.world_size), group, confusion)
    log.metrics(kind='eval', **metrics)
    log.line(describe(metrics))
    if confusion and group.is_main:
        for line in write_per_class(confusion, data.classes, log.directory):
            log.line(line)
    return metrics


def describe(metrics):
    return (f'top-1 {metrics["top1"]:.2f} %, top-5 {metrics["top5"]:.2f} %, loss {metrics["loss"]:.4f} '
            f'on {metrics["images"]} images')


@paddle.no_grad()
def evaluate(model, loader, group, confusion=None):
    """{'top1', 'top5' in percent, 'loss', 'images'} over the images of all processes, each counted once.

    Leaves the network in the mode that it was in. `confusion` (`report.Confusion`) gets what is taken for what.
    """
    was_training = model.training
    model.eval()
    sums = [0, 0, 0.0, 0]
    for images, labels in progress_bar(loader.epoch(0), len(loader), 'evaluate', enabled=group.is_main, leave=False):
        group.watch.beat('evaluation')
        logits = model(images).astype('float32')
        k = min(5, logits.shape[1])
        best = logits.topk(k, axis=1)[1]                           # (B, k)
        hits = best == labels.unsqueeze(1)
        if confusion is not None:
            confusion.add(labels.numpy(), best[:, 0].numpy())
        loss = F.cross_entropy(logits, labels, reduction='sum')
        for i, value in enumerate((hits[:, 0].sum().item(), hits.sum().item(), loss.item(), len(labels))):
            sums[i] += value
    if was_training:
        model.train()
    if confusion is not None:
        confusion.merge(group)
    top1, top5, loss, images = group.sum(sums)
    return {'top1': 100 * top1 / images, 'top5': 100 * top5 / images, 'loss': loss / images, 'images': int(images)}
