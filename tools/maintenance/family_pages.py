"""Update the generated parts of docs/families and docs/README.md:

    python tools/maintenance/family_pages.py

The text of a page stays. Between two marks, this command writes the variants, their weights and measurements. It takes the rows
from docs/networks.md (tools/model_table.py prints that table), the yaml of the variants, docs/results, and the tables of
docs/deploy.md and docs/benchmark.md. So each figure is maintained in one place.
"""
import functools
import json
import re
from pathlib import Path

from image_classification import get_config, list_models
from image_classification.files import write_atomically

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / 'docs'
MARKS = {'page': ('<!-- tools/maintenance/family_pages.py writes what follows -->\n', '<!-- until here -->\n'),
         'families': ('<!-- tools/maintenance/family_pages.py writes this table -->\n', '<!-- end of the table -->\n')}
ORDER = ('mobileformer', 'mobileformer_official', 'edgenext', 'uniformer', 'efficientvit', 'mobilenet_v1', 'mobilenet_v2',
         'mobilenet_v3', 'mobilenet_v4', 'mobilenext', 'efficientnet_lite', 'ghostnet', 'lcnet', 'hgnet_v2', 'mobileone', 'repvit',
         'mobilevit', 'efficientvit_mit', 'levit', 'efficientformer_v2', 'tiny_vit', 'fastvit', 'shvit', 'swiftformer', 'starnet',
         'shufflenet_v1', 'shufflenet_v2', 'googlenet', 'inception_v2', 'inception_v3', 'inception_v4', 'inception_resnet_v2',
         'xception', 'ic_resnet', 'blazeface')


def read(path):
    return path.read_text(encoding='utf-8')


@functools.cache
def families():
    """{family: its variants, sorted}; families in the order of the documents, new ones last."""
    found = {family: [] for family in ORDER}
    for name in list_models():
        found.setdefault(get_config(name).MODEL.TYPE.lower(), []).append(name)
    return found


def has_page(family):
    return (DOCS / 'families' / f'{family}.md').is_file()


def described():
    """`families` without those that have no page yet."""
    return {family: names for family, names in families().items() if has_page(family)}


def rows_of(text, name):
    """The cells of each table row in `text` whose first cell is `name`."""
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()
            if line.startswith(f'| {name} |')]


def variants(names):
    networks = read(DOCS / 'networks.md')
    head = re.search(r'^\| model \| parameters .*\n\|---.*\n', networks, re.M)[0]
    lines = [f'| {" | ".join(cells)} |\n' for name in names for cells in rows_of(networks, name)]
    return '## Variants\n\n' + head + ''.join(lines)


def weights(names):
    entries = [(name, entry) for name in names for entry in get_config(name).PUBLISHED.WEIGHTS]
    own = ''.join(f'\nWith this library: `{entry["TAG"]}` for {name}, {entry["SOURCE"]}.\n'
                  for name, entry in entries if 'FILE' in entry)
    lines = []
    for name, entry in entries:
        if 'FILE' not in entry:
            top1 = f'{entry["TOP1"]:g} %' if entry.get('TOP1') else '-'
            lines.append(f'| {name} | `{entry["TAG"]}` | {top1} | {entry["LICENCE"]} | {entry["SOURCE"]} |\n')
    if not lines:
        return '## Weights\n\nNobody has published ImageNet weights for these networks.\n' + own
    return ('## Weights\n\nTop-1 on ImageNet as their publishers say.\n\n| variant | tag | top-1 | licence | from |\n'
            '|---|---|---|---|---|\n' + ''.join(lines) + own)


def measured(names):
    """A table of this project's measurements of these networks, or a line that there are none."""
    lines = [*_trained(names), *_eight_bits(names), *_speed(names)]
    if not lines:
        return '## Measured here\n\nNothing yet but the comparison with the original.\n'
    return '## Measured here\n\n| what | result |\n|---|---|\n' + ''.join(lines)


def _trained(names):
    for path in sorted((DOCS / 'results').glob('*.json')):
        facts = json.loads(read(path))
        if facts['model'] in names:
            recipe = facts['recipe'].removeprefix('configs/')
            yield (f'| [training](../results.md) by [{recipe}](../../{facts["recipe"]}), seed {facts["seed"]} | '
                   f'{facts["top1"]:.2f} % top-1 after {facts["epochs"]} epochs |\n')


def _eight_bits(names):
    for name in names:
        for top1, same, size in (cells[1:] for cells in rows_of(read(DOCS / 'deploy.md'), name)):
            yield (f'| [8 bits](../deploy.md), {name} | top-1 {top1}; {same} of the pictures keep their class; {size} MiB |\n')


def _speed(names):
    """Milliseconds of the fastest export and of a training step, from the tables of docs/benchmark.md."""
    benchmark = read(DOCS / 'benchmark.md')
    engines = re.search(r'^\| model \| px \| what \| batch \| (.*) \| eager \| timm', benchmark, re.M).group(1).split(' | ')
    for name in names:
        for _, pixels, what, batch, *times in rows_of(benchmark, name):
            if what == 'forward':
                known = [(float(time.split()[0]), engine) for time, engine in zip(times, engines) if time != '-']
                time, engine = min(known)
                words = f'{name} at {pixels} px, batch {batch}, exported to {engine}'
            else:
                time, words = times[0].split()[0], f'{name} at {pixels} px, batch {batch}, training step'
            yield f'| [speed](../benchmark.md) on one core, {words} | {time} ms |\n'


def summary():
    """The table of the families."""
    networks = read(DOCS / 'networks.md')
    text = '| family | variants | parameters | published top-1 | weights |\n|---|---|---|---|---|\n'
    for family, names in described().items():
        title = read(DOCS / 'families' / f'{family}.md').splitlines()[0].lstrip('# ')
        cells = [rows_of(networks, name)[0] for name in names]
        sizes = sorted(int(row[1].replace(',', '')) / 1e6 for row in cells)
        top1 = sorted(float(row[4].split()[0]) for row in cells if row[4] != '-')
        with_weights = sum(row[6] != '-' for row in cells)
        some = 'all' if with_weights == len(names) else str(with_weights) if with_weights else '-'
        text += (f'| [{title}](families/{family}.md) | {len(names)} | {_range(sizes, ".2g", "M")} | '
                 f'{_range(top1, ".1f", "%")} | {some} |\n')
    return text


def _range(values, form, unit):
    if not values:
        return '-'
    ends = list(dict.fromkeys(f'{value:{form}}' for value in (values[0], values[-1])))
    return f'{" to ".join(ends)} {unit}'


def between(text, kind, content):
    """`text` with `content` between the marks of that kind. Raises ValueError if a mark is missing."""
    start, end = MARKS[kind]
    before, rest = text.split(start)
    _, after = rest.split(end)
    return f'{before}{start}\n{content}\n{end}{after}'


def documents():
    """{path: new text} for all documents with generated parts."""
    found = {}
    for family, names in described().items():
        path = DOCS / 'families' / f'{family}.md'
        found[path] = between(read(path), 'page', '\n'.join((variants(names), weights(names), measured(names))))
    if (DOCS / 'README.md').is_file():
        found[DOCS / 'README.md'] = between(read(DOCS / 'README.md'), 'families', summary())
    return found


def main(argv=None):
    for path, text in documents().items():
        if text != read(path):
            write_atomically(path, lambda temporary, text=text: temporary.write_text(text, encoding='utf-8'))
            print(path.relative_to(PROJECT))
    for family in families():
        if not has_page(family):
            print(f'no page yet: docs/families/{family}.md')


if __name__ == '__main__':
    main()
