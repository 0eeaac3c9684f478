"""The end of a training: a verified export, a sample picture to try it on, and a summary of where everything is."""
import shlex

from image_classification.checkpoint import load_network
from image_classification.datasets import get_dataloader
from image_classification.deploy.export import export_model
from image_classification.engine.best import BEST
from image_classification.engine.evaluate import evaluate, says_something
from image_classification.engine.processes.distributed import Group
from image_classification.engine.report import Confusion, epoch_table, read_metrics, write_curves, write_per_class
from image_classification.files import unused, write_atomically
from image_classification.installation import as_typed, words_of


def finish(cfg, log, dataset, best):
    """Export the best checkpoint of the run that `log` belongs to, and print the summary.

    Args:
        dataset: the test images.
        best: the metrics of that checkpoint.
    """
    directory, checkpoint = log.directory, log.directory / BEST
    top5 = says_something(cfg.MODEL.NUM_CLASSES)
    for line in epoch_table(read_metrics(directory), top5=top5):
        log.line(line)
    lines = [f'top-1       {best["top1"]:.2f} % on {best["images"]} images (epoch {best["epoch"]})',
             f'checkpoint  {as_typed(checkpoint)}', f'log         {as_typed(directory / "log.txt")}',
             write_curves(directory, top5)]
    target = checkpoint
    model, class_names = load_network(checkpoint)
    if cfg.PER_CLASS:
        confusion = Confusion(cfg.MODEL.NUM_CLASSES)
        evaluate(model, get_dataloader(cfg, dataset, is_train=False), Group(), confusion)
        lines += write_per_class(confusion, class_names, directory)
    if cfg.EXPORT:
        log.line('exporting, and comparing the export with the network')
        target = unused(directory / 'export')
        differences = export_model(model, target, class_names)
        agreement = ', '.join(f'{difference:.1e} at batch {batch}' for batch, difference in differences.items())
        lines.append(f'export      {as_typed(target)} (largest difference from the network: {agreement})')
    sample = directory / 'sample.png'
    write_atomically(sample, lambda file: dataset.image(0).save(file, 'PNG'))
    command = [*words_of('predict'), as_typed(target), as_typed(sample)]
    lines.append(f'classify    {shlex.join(command)}')
    for line in lines:
        log.line(line)
