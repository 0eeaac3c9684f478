"""README's table of networks as Markdown: python tools/model_table.py ['edgenext*']"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import argparse

from image_classification import create_model, list_models
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.progress import progress_bar

HEAD = '| model | parameters | MACs | input | published top-1 | source | weights |\n|---|---|---|---|---|---|---|\n'


def row(name):
    """One line of the table: what is published is from the model's yaml, the rest is counted."""
    model = create_model(name)
    size, published = model.config.DATA.IMAGE_SIZE, model.config.PUBLISHED
    top1 = f'{published.TOP1:g} %' if published.TOP1 else '-'
    tags = ', '.join(entry['TAG'] for entry in model.config.PUBLISHED.WEIGHTS)
    return (f'| {name} | {count_parameters(model):,} | {count_macs(model, size) / 1e6:.1f} M | {size} x {size} | {top1} | '
            f'{published.SOURCE or "-"} | {tags or "-"} |\n')


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split(':')[0])
    parser.add_argument('pattern', nargs='?', default='*', help="names to print, e.g. 'edgenext*'")
    rows = [row(name) for name in progress_bar(list_models(parser.parse_args(argv).pattern), label='count')]
    print(HEAD + ''.join(rows), end='')


if __name__ == '__main__':
    main()
