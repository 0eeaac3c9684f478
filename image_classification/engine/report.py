"""Reports about a training: curves, accuracy per class, and the confusion matrix."""
import csv
import io
import json
from pathlib import Path

import numpy as np

from image_classification.drawing.lettering import file_for
from image_classification.files import write_atomically
from image_classification.names.text import shown

LARGEST_DRAWN = 60                                                 # most classes in a drawn matrix: names need room


class Confusion:
    """Counts of (label, predicted class) over the images of all processes."""

    def __init__(self, num_classes):
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def add(self, labels, predicted):
        np.add.at(self.counts, (labels, predicted), 1)

    def merge(self, group):
        """Sum the counts over all processes."""
        self.counts = np.asarray(group.sum(self.counts.ravel().tolist())).reshape(self.counts.shape).astype(np.int64)

    @property
    def labelled(self):
        """Number of images per class."""
        return self.counts.sum(1)

    @property
    def predicted(self):
        """How often each class is predicted."""
        return self.counts.sum(0)

    def rows(self, names):
        """For each class with images: (name, images, recall, precision, the class it is most often taken for or '').
        Recall and precision are in percent."""
        found = []
        right, labelled, predicted = self.counts.diagonal(), self.labelled, self.predicted
        for i in np.flatnonzero(labelled):
            wrong = self.counts[i].copy()
            wrong[i] = 0
            taken_for = names[wrong.argmax()] if wrong.any() else ''
            precision = 100 * right[i] / predicted[i] if predicted[i] else 0.0
            found.append((names[i], int(labelled[i]), 100 * right[i] / labelled[i], precision, taken_for))
        return found


def class_names(names, count):
    """`names`, continued by numbers if there are fewer than `count`."""
    return [*names, *(str(i) for i in range(len(names), count))]


def write_per_class(confusion, names, directory):
    """Write per_class.csv and, if matplotlib is installed and there are not too many classes, confusion_matrix.png.

    Returns:
        Lines of the table for a terminal, and a line for each file.
    """
    rows = confusion.rows(class_names(names, len(confusion.counts)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['class', 'images', 'recall', 'precision', 'most often taken for'])
    writer.writerows((name, images, f'{recall:.2f}', f'{precision:.2f}', other)
                     for name, images, recall, precision, other in rows)
    write_atomically(directory / 'per_class.csv', lambda file: file.write_text(text.getvalue(), encoding='utf-8',
                                                                                errors='surrogateescape'))
    width = min(30, max([len(row[0]) for row in rows] + [5]))
    lines = [f'{"class":{width}}  images  recall  precision  most often taken for']
    lines += [f'{name[:width]:{width}}  {images:6d}  {recall:5.1f}%  {precision:8.1f}%  {other}'
              for name, images, recall, precision, other in rows]
    drawn, font, remark = _drawable([row[0] for row in rows])
    line = _drawn(directory / 'confusion_matrix.png', _draw_matrix, confusion, drawn, font)
    return lines + [f'per class   {directory / "per_class.csv"}', line + remark]


def read_metrics(directory):
    """The rows of a run's metrics.jsonl."""
    with open(directory / 'metrics.jsonl', encoding='utf-8') as file:
        return [json.loads(line) for line in file if line.strip()]


def epoch_table(rows, best=3, last=7, top5=True):
    """Lines of a table of the `best` best and the `last` last evaluations in the rows of metrics.jsonl.

    The training loss is the mean over the steps since the previous evaluation. `top5`: whether to show top-5.
    """
    table, losses, step = [], [], 0
    for row in rows:
        if row['kind'] == 'train':
            losses.append((row['loss'], row['step'] - step))       # a row has the mean over the steps since the previous row
            step = row['step']
        else:
            steps = sum(weight for _, weight in losses)
            loss = f'{sum(loss * weight for loss, weight in losses) / steps:.4f}' if steps else '-'
            table.append((row['top1'], f'{row["epoch"]:5d}  {row["step"]:8d}  {loss:>10}  {row["loss"]:9.4f}  '
                                       f'{row["top1"]:6.2f}' + (f'  {row["top5"]:6.2f}' if top5 else '')))
            losses = []
    order = sorted(range(len(table)), key=lambda i: -table[i][0])  # of equal ones the first is the best
    shown = sorted({*order[:best], *range(len(table))[-last:]})
    return ['epoch      step  train loss  test loss   top 1' + ('   top 5' if top5 else ''),
            *(table[i][1] + ('  best' if i == order[0] else '') for i in shown)]


def write_curves(directory, top5=True):
    """Draw loss, accuracy and learning rate in a run's metrics.jsonl to curves.png. Returns a line with the path or problem."""
    return _drawn(directory / 'curves.png', _draw_curves, read_metrics(directory), top5)


def _drawn(path, draw, *content):
    """Draw into a file. Returns a line for the log. Without matplotlib (an extra), nothing is drawn."""
    kind = path.stem.replace('_', ' ')
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure  # without pyplot: no window, no global state
    except ImportError:
        return f'{kind}: not drawn, matplotlib is not installed'
    figure = Figure(layout='constrained')
    FigureCanvasAgg(figure)
    problem = draw(figure, *content)
    if problem:
        return f'{kind}: not drawn, {problem}'
    write_atomically(path, lambda temporary: figure.savefig(temporary, format='png', dpi=100))
    return f'{kind:10}  {path}'


def _draw_curves(figure, records, top5):
    train, test = ([row for row in records if row.get('kind') == kind] for kind in ('train', 'eval'))
    if not train:
        return 'the run has no report of a training step'
    figure.set_size_inches(12, 4)
    loss, accuracy, rate = figure.subplots(1, 3)
    loss.plot([row['step'] for row in train], [row['loss'] for row in train], label='training')
    loss.plot([row['step'] for row in test], [row['loss'] for row in test], 'o-', label='evaluation')
    accuracy.plot([row['step'] for row in test], [row['top1'] for row in test], 'o-', label='top-1')
    if top5:
        accuracy.plot([row['step'] for row in test], [row['top5'] for row in test], 'o-', label='top-5')
    rate.plot([row['step'] for row in train], [row['lr'] for row in train])
    for axes, title in ((loss, 'loss'), (accuracy, 'accuracy, percent'), (rate, 'learning rate')):
        axes.set_title(title)
        axes.set_xlabel('step')
        axes.grid(alpha=0.3)
    loss.legend()
    accuracy.legend()


def _drawable(names):
    """(names to draw, font file or '', words about letters that no installed font has). Names with such letters are replaced
    by the numbers of their rows in per_class.csv."""
    names = [shown(name).replace('$', r'\$') for name in names]    # matplotlib reads text between two $ as a formula
    file, lacking = file_for(''.join(names))
    if lacking:
        names = [f'row {number}' if set(name) & set(lacking) else name for number, name in enumerate(names, 1)]
        letters = ''.join(dict.fromkeys(lacking))
        return names, '', f' (no font was found that knows {letters[:20]}: rows are numbered; install one, e.g. NotoSansCJK)'
    return names, file, ''


def _draw_matrix(figure, confusion, names, font):
    if len(names) > LARGEST_DRAWN:
        return f'{len(names)} classes have no room, {LARGEST_DRAWN} at most'
    kept = np.flatnonzero(confusion.counts.sum(1))
    counts = confusion.counts[np.ix_(kept, kept)]
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    side = 3 + 0.35 * len(names)
    figure.set_size_inches(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    figure.colorbar(image, label='share of the class')
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    for text in [*axes.get_xticklabels(), *axes.get_yticklabels()] if font else ():
        text.set_font(Path(font))
    axes.set_xlabel('predicted')
    axes.set_ylabel('label')
    for y, x in np.argwhere(counts) if len(names) <= 20 else ():
        axes.text(x, y, counts[y, x], ha='center', va='center', fontsize=7, color='white' if shares[y, x] > 0.5 else 'black')
