"""The table of docs/networks.md as Markdown: python tools/model_table.py ['edgenext*']"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

from image_classification import create_model, list_models
from image_classification.config.options import Parser
from image_classification.deploy.complexity import count_macs, count_parameters
from image_classification.errors import exit_with_message
from image_classification.progress import progress_bar

HEAD = '| model | parameters | MACs | input | published top-1 | source | weights |\n|---|---|---|---|---|---|---|\n'


def row(name):
    """One line of the table. Published values come from the model's yaml; the others are counted."""
    model = create_model(name)
    return line(model, f'{count_macs(model, model.config.DATA.IMAGE_SIZE) / 1e6:.1f} M')


def line(model, macs):
    """Like `row`, with given multiply-adds. The parameters of the network need no values."""
    size, published = model.config.DATA.IMAGE_SIZE, model.config.PUBLISHED
    top1 = f'{published.TOP1:g} %' if published.TOP1 else '-'
    tags = ', '.join(entry['TAG'] for entry in published.WEIGHTS if 'FILE' not in entry)      # those are not of ImageNet
    return (f'| {model.config.MODEL.NAME} | {count_parameters(model):,} | {macs} | {size} x {size} | {top1} | '
            f'{published.SOURCE or "-"} | {tags or "-"} |\n')


@exit_with_message
def main(argv=None):
    parser = Parser(description=__doc__.split(':')[0])
    parser.add_argument('pattern', nargs='?', default='*', help="names to print, e.g. 'edgenext*'")
    rows = [row(name) for name in progress_bar(list_models(parser.parse_args(argv).pattern), label='count')]
    print(HEAD + ''.join(rows), end='')


if __name__ == '__main__':
    main()
