"""Write docs/results.md: accuracy and time of our trainings with the recipes in configs/, with command, log and curve.

    python tools/maintenance/results_page.py [RUN ...] [--processor 'AMD EPYC, 2 cores']

RUN is the directory of a finished training; docs/results keeps what the page needs of it. The accuracy of a run is that of its
last evaluation, never of its best one.
"""
import argparse
import json
import re
import statistics
from pathlib import Path

from image_classification.config import get_config
from image_classification.engine.report import read_metrics
from image_classification.errors import UserError, exit_with_message
from image_classification.files import write_atomically

from diagrams.svg import FAINT, Canvas

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / 'docs'
FACTS = DOCS / 'results'
MARKS = '<!-- tools/maintenance/results_page.py writes what follows -->\n', '<!-- until here -->\n'
LINES = 8                                                          # last lines of a log on the page
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 260, 56, 56, 34, 216
LOSS, TOP1 = '#6e7781', '#0969da'


def facts_of(run, processor):
    """The facts that the page needs, from a run's directory."""
    log = (run / 'log.txt').read_text(encoding='utf-8')
    rows, cfg = read_metrics(run), get_config(run / 'config.yaml')
    evaluations = [row for row in rows if row['kind'] == 'eval']
    if not evaluations or evaluations[-1]['epoch'] < cfg.TRAIN.NUM_EPOCHS:
        raise UserError(f'{run} has no evaluation after {cfg.TRAIN.NUM_EPOCHS} epochs; wanted a training that came to its end')
    recipe = re.search(r'configuration +(configs/\S+)', log)
    batch = int(re.search(r'total batch (\d+)', log)[1])
    parameters = re.search(r'([\d,]+) parameters', log)[1]
    return {'recipe': recipe[1], 'model': cfg.MODEL.NAME, 'size': cfg.DATA.IMAGE_SIZE, 'parameters': parameters,
            'epochs': cfg.TRAIN.NUM_EPOCHS, 'seed': cfg.SEED, 'hours': hours(rows, batch), 'processor': processor,
            'top1': evaluations[-1]['top1'], 'images': evaluations[-1]['images'], 'losses': losses(rows),
            'accuracies': [[row['epoch'], row['top1']] for row in evaluations],
            'log': [line.replace(f'{run.parent}/', 'output/') for line in log.splitlines()
                    if ' classify ' not in line][-LINES:]}


def hours(rows, batch):
    """Hours of all steps, computed from the images/s of each row."""
    seconds, step = 0.0, 0
    for row in rows:
        if row['kind'] == 'train':
            seconds += (row['step'] - step) * batch / row['images_per_second']
            step = row['step']
    return round(seconds / 3600, 2)


def losses(rows):
    """[[epoch, mean training loss], ...]."""
    sums, step = {}, 0
    for row in rows:
        if row['kind'] == 'train':
            total, count = sums.get(row['epoch'], (0.0, 0))
            sums[row['epoch']] = total + row['loss'] * (row['step'] - step), count + row['step'] - step
            step = row['step']
    return [[epoch, round(total / count, 4)] for epoch, (total, count) in sums.items() if count]


def curve(facts):
    """SVG text: the training loss of each epoch, and the accuracy at each evaluation."""
    canvas, epochs = Canvas(), facts['epochs']
    most = max(loss for _, loss in facts['losses'])

    def place(epoch, share):
        return LEFT + (WIDTH - LEFT - RIGHT) * epoch / epochs, BOTTOM - (BOTTOM - TOP) * share

    low = min(90.0, min(top1 for _, top1 in facts['accuracies']) // 10 * 10)
    for share in (0.0, 0.5, 1.0):
        x, y = place(0, share)
        canvas.wire((x, y), place(epochs, share), colour='#e6e9ec', width=1)
        canvas.text(x - 8, y + 4, f'{share * most:.2f}', 12, LOSS, 'end')
        canvas.text(WIDTH - RIGHT + 8, y + 4, f'{low + share * (100 - low):.0f} %', 12, TOP1, 'start')
    canvas.wire(*(place(epoch, loss / most) for epoch, loss in facts['losses']), colour=LOSS, width=2)
    points = [place(epoch, (top1 - low) / (100 - low)) for epoch, top1 in facts['accuracies']]
    canvas.wire(*points, colour=TOP1, width=2)
    for x, y in points:
        canvas.circle(x, y, 3.5, TOP1, '#ffffff')
    canvas.text(LEFT, 20, 'training loss', 13, LOSS, 'start', bold=True)
    canvas.text(WIDTH - RIGHT, 20, 'top-1 of the test part', 13, TOP1, 'end', bold=True)
    canvas.text(WIDTH / 2, BOTTOM + 32, f'epoch, of {epochs}', 12, FAINT)
    return canvas.finish(WIDTH, HEIGHT, f'{facts["recipe"]}: training loss and accuracy')


def name_of(facts):
    data, recipe = Path(facts['recipe']).parts[-2:]
    return f'{data}-{Path(recipe).stem}' + (f'-seed{facts["seed"]}' if facts['seed'] else '')


def table(runs):
    """A row for each recipe: the mean over its seeds, and their spread."""
    lines = ['| recipe | parameters | pixels | epochs | top-1 | seeds | hours | on |\n|---|---|---|---|---|---|---|---|\n']
    for recipe in dict.fromkeys(facts['recipe'] for facts in runs):
        same = [facts for facts in runs if facts['recipe'] == recipe]
        top1 = [facts['top1'] for facts in same]
        spread = f' ({min(top1):.2f} to {max(top1):.2f})' if len(top1) > 1 else ''
        first, took = same[0], ' + '.join(f'{facts["hours"]:.1f}' for facts in same)
        lines.append(f'| [{recipe.removeprefix("configs/")}](../{recipe}) | {first["parameters"]} | {first["size"]} | '
                     f'{first["epochs"]} | **{statistics.mean(top1):.2f} %**{spread} | {len(same)} | {took} | '
                     f'{first["processor"]} |\n')
    return ''.join(lines)


def section(facts):
    command = (PROJECT / facts['recipe']).read_text(encoding='utf-8').splitlines()[1].removeprefix('# ')
    log = '\n'.join(facts['log'])
    return (f'\n## {facts["model"]} on {Path(facts["recipe"]).parent.name}, seed {facts["seed"]}\n\n```bash\n{command}\n```\n\n'
            f'![Training loss and accuracy](results/{name_of(facts)}.svg)\n\nThe last lines of its log:\n\n```\n{log}\n```\n')


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding='utf-8'))


def page(text, runs):
    """The page, with the part between its marks replaced."""
    before, _, rest = text.partition(MARKS[0])
    return before + MARKS[0] + '\n' + table(runs) + ''.join(map(section, runs)) + '\n' + MARKS[1] + rest.partition(MARKS[1])[2]


@exit_with_message
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split(':')[0])
    parser.add_argument('runs', nargs='*', type=Path, metavar='RUN')
    parser.add_argument('--processor', default='', help='the processor that they were trained on')
    args = parser.parse_args(argv)
    for run in args.runs:
        facts = facts_of(run, args.processor)
        write(FACTS / f'{name_of(facts)}.json', json.dumps(facts, indent=1) + '\n')
    runs = [json.loads(path.read_text(encoding='utf-8')) for path in sorted(FACTS.glob('*.json'))]
    for facts in runs:
        write(FACTS / f'{name_of(facts)}.svg', curve(facts))
    write(DOCS / 'results.md', page((DOCS / 'results.md').read_text(encoding='utf-8'), runs))


if __name__ == '__main__':
    main()
