"""docs/results.md is what the tool writes of docs/results."""
import json

import pytest

import results_page
from image_classification.errors import UserError

ROWS = [{'kind': 'train', 'epoch': 1, 'step': 10, 'loss': 2.0, 'images_per_second': 80.0},
        {'kind': 'train', 'epoch': 1, 'step': 30, 'loss': 0.5, 'images_per_second': 40.0},
        {'kind': 'train', 'epoch': 2, 'step': 60, 'loss': 0.25, 'images_per_second': 60.0}]


def test_the_page_is_of_the_runs_that_are_kept():
    runs = [json.loads(path.read_text(encoding='utf-8')) for path in sorted(results_page.FACTS.glob('*.json'))]
    text = (results_page.DOCS / 'results.md').read_text(encoding='utf-8')
    assert results_page.page(text, runs) == text
    for facts in runs:
        drawn = results_page.FACTS / f'{results_page.name_of(facts)}.svg'
        assert results_page.curve(facts) == drawn.read_text(encoding='utf-8')


def test_a_loss_and_the_hours_count_steps_and_not_rows():
    assert results_page.losses(ROWS) == [[1, 1.0], [2, 0.25]]
    assert results_page.hours(ROWS, 36) == round((10 * 36 / 80 + 20 * 36 / 40 + 30 * 36 / 60) / 3600, 2)


@pytest.mark.parametrize('epoch', [None, 1])
def test_a_training_that_is_not_at_its_end_is_refused(epoch, tmp_path):
    rows = [*ROWS, *([{'kind': 'eval', 'epoch': epoch, 'top1': 50.0}] if epoch else [])]
    (tmp_path / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    (tmp_path / 'log.txt').write_text('')
    (tmp_path / 'config.yaml').write_text('BASE: [mobileformer_26m]\nTRAIN: {NUM_EPOCHS: 2}\n')
    with pytest.raises(UserError, match='no evaluation after 2 epochs; wanted a training that came to its end'):
        results_page.facts_of(tmp_path, '')
