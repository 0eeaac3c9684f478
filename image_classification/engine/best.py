"""The checkpoints of a run's best evaluations: best.safetensors, then best-2.safetensors, ..."""
import os

from image_classification.checkpoint import read_checkpoint, set_aside
from image_classification.errors import UserError

BEST = 'best.safetensors'


def best_names(keep):
    return [BEST, *(f'best-{n}.safetensors' for n in range(2, keep + 1))]


class BestCheckpoints:
    """Keeps `records` {'epoch', 'step', 'top1', ...} of what is in the files, the best one first. Of two equal evaluations,
    the earlier one is better."""

    def __init__(self, keep, records=()):
        self.names, self.records = best_names(keep), list(records)

    def add(self, record, save):
        """Save the current checkpoint if it is one of the best.

        A resumed run may repeat evaluations from before it was killed. Their checkpoints replace those of the same step.
        Args:
            save: called as `save(name, earlier)`. The file at `name` moves on to the first name in `earlier`, that one to the
                next, and so on.
        """
        steps = [known['step'] for known in self.records]
        same = steps.index(record['step']) if record['step'] in steps else None
        place = sum(known['top1'] >= record['top1'] for known in self.records if known['step'] != record['step'])
        if place == len(self.names) or (same is not None and same < place):
            return
        end = min(len(self.records), len(self.names) - 1) if same is None else same
        save(self.names[place], self.names[place + 1:end + 1])
        del self.records[end:end + 1]
        self.records.insert(place, record)


def repair_best(directory, keep):
    """(records of the best checkpoints in a run's directory, lines about damaged ones).

    Also puts the files in order: a kill while they are moved leaves one of them in two places. Damaged ones are renamed.
    """
    paths = [directory / name for name in best_names(keep)]
    found, damaged = {}, []
    for path in filter(os.path.isfile, paths):
        try:
            progress = read_checkpoint(path).progress
        except UserError as error:
            set_aside(path)
            damaged.append(f'passed over: {error}')
            continue
        record = progress.evaluated or {'step': progress.step, **progress.best}
        found.setdefault(record['step'], (path, record))
    for (source, _), target in zip(found.values(), paths):
        if source != target:
            os.replace(source, target)
    for path in paths[len(found):]:
        path.unlink(missing_ok=True)
    return [record for _, record in found.values()], damaged
