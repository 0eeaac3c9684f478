"""Accuracy and loss of a network on a data set."""
import paddle
import paddle.nn.functional as F

from image_classification.progress import progress_bar


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
