import csv
import json
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from image_classification.engine import report, summary
from image_classification.engine.processes.distributed import Group
from image_classification.engine.report import Confusion, epoch_table, write_curves, write_per_class
from image_classification.engine.trainer import train_or_evaluate


@pytest.fixture
def curves(monkeypatch):
    monkeypatch.setattr(summary, 'write_curves', write_curves)


def example():
    """Three classes: of the first, three of four are right, of the second none of two; the third has no images."""
    confusion = Confusion(3)
    confusion.add(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 2, 0, 0]))
    return confusion


def test_rows_say_recall_precision_and_what_a_class_is_taken_for():
    assert example().rows(['a', 'b', 'c']) == [('a', 4, 75.0, 60.0, 'c'), ('b', 2, 0.0, 0.0, 'a')]


def test_a_class_that_is_always_right_is_taken_for_nothing():
    confusion = Confusion(2)
    confusion.add(np.array([0, 1]), np.array([0, 1]))
    assert confusion.rows(['a', 'b']) == [('a', 1, 100.0, 100.0, ''), ('b', 1, 100.0, 100.0, '')]


def test_the_table_is_written_and_the_matrix_drawn(tmp_path):
    lines = write_per_class(example(), ['a', 'b'], tmp_path)         # a class without a name gets its number
    rows = list(csv.reader(open(tmp_path / 'per_class.csv')))
    assert rows[1:] == [['a', '4', '75.00', '60.00', '2'], ['b', '2', '0.00', '0.00', 'a']]
    assert lines[1].split() == ['a', '4', '75.0%', '60.0%', '2']
    assert Image.open(tmp_path / 'confusion_matrix.png').size[0] > 100


def test_a_font_is_looked_for_that_knows_the_names_and_odd_names_are_written(tmp_path, monkeypatch):
    confusion, names = Confusion(3), ['猫', '$a$b$', '\udcd6\udcd0']
    confusion.add(np.arange(3), np.arange(3))
    monkeypatch.setattr(report, 'file_for', lambda text: ('', ['猫']))
    with warnings.catch_warnings():
        warnings.simplefilter('error')                             # of matplotlib, about glyphs
        lines = write_per_class(confusion, names, tmp_path)
    assert lines[-1].endswith('(no font was found that knows 猫: rows are numbered; install one, e.g. NotoSansCJK)')
    assert b'\n\xd6\xd0,1,' in (tmp_path / 'per_class.csv').read_bytes()
    assert report._drawable(names) == (['row 1', r'\$a\$b\$', r'\xd6\xd0'], '', lines[-1][lines[-1].index(' ('):])
    font = str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSerif.ttf'))
    monkeypatch.setattr(report, 'file_for', lambda text: (font, []))
    plain = (tmp_path / 'confusion_matrix.png').read_bytes()
    write_per_class(confusion, ['ä', 'b', 'c'], tmp_path)
    serif = (tmp_path / 'confusion_matrix.png').read_bytes()
    monkeypatch.setattr(report, 'file_for', lambda text: ('', []))
    write_per_class(confusion, ['ä', 'b', 'c'], tmp_path)
    assert (tmp_path / 'confusion_matrix.png').read_bytes() not in (plain, serif)


def test_many_classes_are_not_drawn(tmp_path):
    confusion = Confusion(100)
    confusion.add(np.arange(100), np.arange(100))
    assert '100 classes have no room' in write_per_class(confusion, [str(i) for i in range(100)], tmp_path)[-1]
    assert not (tmp_path / 'confusion_matrix.png').exists()


def test_evaluation_writes_the_table_and_it_agrees_with_the_accuracy(tiny, curves):
    cfg = tiny(TRAIN__MAX_STEPS=2)
    train_or_evaluate(cfg, Group())
    directory, = Path(cfg.SAVE).iterdir()
    assert (directory / 'curves.png').is_file()
    cfg = tiny(EVAL=True, PER_CLASS=True, PRETRAINED=str(directory / 'best.safetensors'))
    metrics = train_or_evaluate(cfg, Group())
    evaluated, = [path for path in directory.parent.iterdir() if path.name.startswith('eval')]
    rows = list(csv.DictReader(open(evaluated / 'per_class.csv', encoding='utf-8')))
    right = sum(int(row['images']) * float(row['recall']) / 100 for row in rows)
    assert 100 * right / metrics['images'] == metrics['top1'] and {row['class'] for row in rows} == {'red, warm', 'bläu'}


def test_a_run_without_reports_has_no_curves(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text(json.dumps({'kind': 'eval'}) + '\n')
    assert 'no report' in write_curves(tmp_path)


def test_the_table_has_the_best_and_the_last_evaluations_and_the_mean_loss_of_the_steps_between():
    rows = []
    for epoch in range(1, 21):
        rows += [{'kind': 'train', 'step': 4 * epoch - 1, 'loss': 2.0}, {'kind': 'train', 'step': 4 * epoch, 'loss': 6.0},
                 {'kind': 'eval', 'epoch': epoch, 'step': 4 * epoch, 'loss': 1.5, 'top1': 90.0 if epoch in (2, 5) else epoch,
                  'top5': 99.0}]
    lines = epoch_table(rows)[1:]
    assert [int(line.split()[0]) for line in lines] == [2, 5, *range(14, 21)]
    assert lines[0].split() == ['2', '8', '3.0000', '1.5000', '90.00', '99.00', 'best'] and 'best' not in ''.join(lines[1:])
    assert [line.split()[-2:] for line in epoch_table(rows, top5=False)[:2]] == [['top', '1'], ['90.00', 'best']]


def test_after_training_too_the_best_checkpoint_is_looked_at_class_by_class(tiny):
    cfg = tiny(TRAIN__MAX_STEPS=2, PER_CLASS=True)
    metrics = train_or_evaluate(cfg, Group())
    directory, = Path(cfg.SAVE).iterdir()
    rows = list(csv.DictReader(open(directory / 'per_class.csv', encoding='utf-8')))
    right = sum(int(row['images']) * float(row['recall']) / 100 for row in rows)
    assert 100 * right / 10 == metrics['top1'] and (directory / 'confusion_matrix.png').is_file()
