"""What a training leaves at its end: the verified export, a picture to try it on, and where everything is."""
import os
import shlex
import sys
from pathlib import Path

from image_classification.deploy.export import export_model
from image_classification.engine.checkpoint import load_network
from image_classification.engine.report import write_curves
from image_classification.engine.run import BEST

PROJECT = Path(__file__).resolve().parents[2]


def finish(cfg, log, dataset, best):
    """Export the best checkpoint of the run that `log` belongs to, and print the summary."""
    directory, checkpoint = log.directory, log.directory / BEST
    lines = [f'top-1       {best["top1"]:.2f} % on {best["images"]} images (epoch {best["epoch"]})',
             f'checkpoint  {_short(checkpoint)}', f'log         {_short(directory / "log.txt")}', write_curves(directory)]
    target = checkpoint
    if cfg.EXPORT:
        log.line('exporting, and comparing the export with the network')
        target = _unused(directory / 'export')
        model, class_names = load_network(checkpoint)
        differences = export_model(model, target, class_names)
        agreement = ', '.join(f'{difference:.1e} at batch {batch}' for batch, difference in differences.items())
        lines.append(f'export      {_short(target)} (largest difference from the network: {agreement})')
    sample = directory / 'sample.png'
    dataset.image(0).save(sample)
    command = [_short(sys.executable), _short(PROJECT / 'tools' / 'predict.py'), _short(target), _short(sample)]
    lines.append(f'classify    {shlex.join(command)}')
    for line in lines:
        log.line(line)


def _unused(path):
    """`path`, or with a number behind it where an earlier part of the run left an export."""
    candidates = (path if n == 1 else path.with_name(f'{path.name}-{n}') for n in range(1, 1000))
    return next(candidate for candidate in candidates if not candidate.exists())


def _short(path):
    """A path as one would type it in the working directory."""
    path = Path(os.path.abspath(path))                             # resolving would lead a virtual environment's python astray
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
